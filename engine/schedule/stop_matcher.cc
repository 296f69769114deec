// Invariant: held_ is exactly the longest suffix of the text that is a proper prefix of a stop
// string, and so its length is the largest `matched`.
#include "engine/schedule/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace mneme::schedule {

StopMatcher::StopMatcher(std::span<const std::string> stops) {
  automata_.reserve(stops.size());
  size_t longest = 0;
  for (const std::string& stop : stops) {
    Automaton automaton;
    automaton.stop = stop;
    automaton.failure.assign(stop.size(), 0);
    int32_t border = 0;
    for (size_t i = 1; i < stop.size(); ++i) {
      while (border > 0 && stop[i] != stop[static_cast<size_t>(border)]) {
        border = automaton.failure[static_cast<size_t>(border) - 1];
      }
      if (stop[i] == stop[static_cast<size_t>(border)]) ++border;
      automaton.failure[i] = border;
    }
    automata_.push_back(std::move(automaton));
    longest = std::max(longest, stop.size());
  }
  held_.reserve(longest);
}

int StopMatcher::Append(std::string_view text, bool include_match, std::string* out) {
  for (char byte : text) {
    int winner = -1;
    int32_t longest = 0;
    for (size_t s = 0; s < automata_.size(); ++s) {
      Automaton& automaton = automata_[s];
      int32_t& matched = automaton.matched;
      while (matched > 0 && automaton.stop[static_cast<size_t>(matched)] != byte) {
        matched = automaton.failure[static_cast<size_t>(matched) - 1];
      }
      if (automaton.stop[static_cast<size_t>(matched)] == byte) ++matched;
      if (static_cast<size_t>(matched) == automaton.stop.size() &&
          (winner < 0 ||
           automaton.stop.size() > automata_[static_cast<size_t>(winner)].stop.size())) {
        winner = static_cast<int>(s);
      }
      longest = std::max(longest, matched);
    }
    if (winner >= 0) {
      // What is held, without this byte, ends with the match's other bytes.
      const std::string_view match = automata_[static_cast<size_t>(winner)].stop;
      out->append(held_, 0, held_.size() - (match.size() - 1));
      if (include_match) out->append(match);
      held_.clear();
      return winner;
    }
    // Of what is held and this byte, the last `longest` bytes stay.
    if (longest == 0) {
      out->append(held_);
      out->push_back(byte);
      held_.clear();
    } else {
      const size_t release = held_.size() + 1 - static_cast<size_t>(longest);
      out->append(held_, 0, release);
      held_.erase(0, release);
      held_.push_back(byte);
    }
  }
  return -1;
}

void StopMatcher::Bypass(std::string_view text, std::string* out) {
  out->append(held_);
  out->append(text);
  held_.clear();
  for (Automaton& automaton : automata_) automaton.matched = 0;
}

}  // namespace mneme::schedule
