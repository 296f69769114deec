// Regular expressions of `tokenizer.json`: Oniguruma with Ruby syntax, the reference's own engine,
// with the general categories of Unicode 16.
#ifndef MNEME_LOADER_TOKENIZER_REGEX_H_
#define MNEME_LOADER_TOKENIZER_REGEX_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct re_pattern_buffer;

namespace mneme::loader::tokenizer_internal {

// Bytes [begin, end) of a text.
struct Span {
  uint32_t begin, end;
  bool operator==(const Span&) const = default;
};

// How long the searches of one request, or of the reading of one file, may take together. Patterns
// are data, and some need time quadratic in the text (`\s+x?$` on blanks that no line end follows).
// It also keeps the engine's memory from search to search: a request has one search per piece of
// its text. Not thread safe.
class SearchBudget {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::seconds kLimit{10};

  SearchBudget() : deadline_(Clock::now() + kLimit) {}
  explicit SearchBudget(Clock::time_point deadline) : deadline_(deadline) {}
  bool IsSpent() const { return Clock::now() > deadline_; }

 private:
  friend class Regex;
  struct EngineMemory;

  Clock::time_point deadline_;
  std::shared_ptr<EngineMemory> memory_;  // made by the first search
};

// Immutable and thread safe.
class Regex {
 public:
  // INVALID_ARGUMENT with the pattern and the engine's message.
  static absl::StatusOr<Regex> Compile(std::string_view pattern);

  // Appends the matches in `text` (valid UTF-8, under 2^31 bytes), leftmost first, without overlap.
  // An empty match right behind the match before it does not count. RESOURCE_EXHAUSTED when the
  // engine gives up or the budget is spent.
  absl::Status FindAll(std::string_view text, SearchBudget* budget,
                       std::vector<Span>* matches) const;

 private:
  struct Free {
    void operator()(re_pattern_buffer* regex) const;
  };
  std::string pattern_;
  std::unique_ptr<re_pattern_buffer, Free> regex_;
};

}  // namespace mneme::loader::tokenizer_internal

#endif  // MNEME_LOADER_TOKENIZER_REGEX_H_
