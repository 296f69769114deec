// Token ids to text, one stream at a time: what the schedule needs of a tokenizer, so that it can
// be built and tested without one. Meanings as of loader::StreamDecoder.
#ifndef MNEME_ENGINE_SCHEDULE_TEXT_STREAM_H_
#define MNEME_ENGINE_SCHEDULE_TEXT_STREAM_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace mneme::schedule {

// For one thread at a time.
class TextStream {
 public:
  virtual ~TextStream() = default;
  // Starts again behind the text of `context`.
  virtual void Reset(std::span<const int32_t> context) = 0;
  // Appends the text that this id completes.
  virtual void Append(int32_t id, std::string* out) = 0;
  // Appends what is left at the end.
  virtual void Flush(std::string* out) = 0;
};

// Makes a stream that leaves special tokens out if skip_special. Thread safe. Empty where the model
// has no tokenizer.
using TextStreamFactory = std::function<std::unique_ptr<TextStream>(bool skip_special)>;

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_TEXT_STREAM_H_
