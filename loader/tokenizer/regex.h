// Regular expressions of `tokenizer.json`: Oniguruma with its own syntax, as the reference has it,
// and with the character classes of Unicode 16. Callouts are refused.
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
// Counted is the time that the thread runs between Start and Stop, however busy the machine is. It
// also keeps the engine's memory from search to search: a request has one search per piece of its
// text. For one thread.
class SearchBudget {
 public:
  using Duration = std::chrono::nanoseconds;
  // The slowest published pipeline (deepseek_llm's five patterns) takes 0.14 s a MiB.
  static constexpr Duration kLimit = std::chrono::seconds(10);
  static constexpr Duration kLimitPerMiB = std::chrono::seconds(1);
  static constexpr Duration LimitFor(size_t text_bytes) {
    return kLimit + kLimitPerMiB * static_cast<int64_t>(text_bytes >> 20);
  }

  // Starts.
  explicit SearchBudget(Duration limit = kLimit);

  void Start();
  void Stop() { IsSpent(); }
  // Counts up to now, when started. Whether the limit is exceeded.
  bool IsSpent();
  // The same behind a search through this many bytes of text, but of searches through a few bytes
  // only one in sixteen looks at the clock: reading it takes a tenth of the time of such a search.
  bool IsSpentBySearch(int64_t bytes);
  Duration limit() const { return limit_; }

 private:
  friend class Regex;
  struct EngineMemory;
  // The thread's CPU clock takes a system call.
  using Clock = std::chrono::steady_clock;
  static constexpr Duration kShort = std::chrono::milliseconds(1);
  static constexpr int64_t kFewBytes = 256;
  static constexpr uint32_t kSearchesOfFewBytes = 16;

  Duration limit_;
  Duration used_{0};
  uint32_t few_bytes_ = 0;  // searches
  Clock::time_point mark_;
  Duration cpu_mark_;                     // the thread's CPU clock when it was looked at,
  Clock::time_point looked_at_;           // which was then
  std::shared_ptr<EngineMemory> memory_;  // made by the first search
};

// Immutable and thread safe.
class Regex {
 public:
  // INVALID_ARGUMENT with the pattern and the engine's message.
  static absl::StatusOr<Regex> Compile(std::string_view pattern);

  // Appends the matches in `text` (valid UTF-8, under 2^31 bytes), leftmost first, without overlap.
  // An empty match right behind the match before it does not count, and an empty text has none.
  // RESOURCE_EXHAUSTED when the engine gives up or the budget is spent.
  // INVALID_ARGUMENT for a match that begins in the one before.
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
