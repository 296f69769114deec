// Finds stop strings in text that comes in pieces, and holds back what could still become one.
//
// The match that is complete first wins, whatever the pieces; of those complete at the same byte,
// the one that began first. So the outcome does not depend on how the text was cut into tokens.
// One Knuth-Morris-Pratt automaton per string: a byte costs a few operations per stop string.
//
// Memory is taken in the constructor, except for the held text, of which at most the longest stop
// string's length is kept. For one thread at a time.
#ifndef MNEME_ENGINE_SCHEDULE_STOP_MATCHER_H_
#define MNEME_ENGINE_SCHEDULE_STOP_MATCHER_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mneme::schedule {

class StopMatcher {
 public:
  // The strings are not copied and must outlive the matcher; none is empty.
  explicit StopMatcher(std::span<const std::string> stops);

  // Takes more text and appends to *out what can no longer be part of a match. On a match appends
  // the text before it (with it, if include_match), drops the rest and returns the index of the
  // stop string; -1 otherwise. Nothing may follow a match.
  int Append(std::string_view text, bool include_match, std::string* out);
  // Passes text through that is not searched; what was held before it is released, too.
  void Bypass(std::string_view text, std::string* out);
  // At the end: releases what was held.
  void Flush(std::string* out) { Bypass({}, out); }

  size_t held() const { return held_.size(); }

 private:
  struct Automaton {
    std::string_view stop;
    std::vector<int32_t> failure;  // failure[i]: longest proper border of the first i + 1 bytes
    int32_t matched = 0;           // bytes of `stop` that end at the last byte seen
  };

  std::vector<Automaton> automata_;
  std::string held_;
};

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_STOP_MATCHER_H_
