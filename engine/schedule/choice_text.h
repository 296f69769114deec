// The text of one choice: its tokens decoded, stop strings found and held back.
#ifndef MNEME_ENGINE_SCHEDULE_CHOICE_TEXT_H_
#define MNEME_ENGINE_SCHEDULE_CHOICE_TEXT_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "engine/schedule/stop_matcher.h"
#include "engine/schedule/text_stream.h"

namespace mneme::schedule {

// For one thread at a time. Allocates only where *out or a token's own text outgrows its memory.
class ChoiceText {
 public:
  // stream may be null: then there is no text. stops outlive this.
  ChoiceText(std::unique_ptr<TextStream> stream, std::span<const std::string> stops,
             bool include_stop);

  bool searches() const { return searches_; }
  // A token of the prompt that is echoed: decoded, never searched.
  void Echo(int32_t token_id, std::string* out);
  // A token of the output. With `search` looks for stop strings: returns the index of the one that
  // was found, and *out ends where the output does; else -1.
  int Append(int32_t token_id, bool search, std::string* out);
  // The end: what the decoder and the matcher still hold.
  void Flush(std::string* out);

 private:
  std::unique_ptr<TextStream> stream_;
  StopMatcher matcher_;
  bool searches_;
  bool include_stop_;
  std::string piece_;
};

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_CHOICE_TEXT_H_
