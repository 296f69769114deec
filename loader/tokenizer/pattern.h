// What Split, Replace and Digits look for, and the pieces it divides a text into.
#ifndef MNEME_LOADER_TOKENIZER_PATTERN_H_
#define MNEME_LOADER_TOKENIZER_PATTERN_H_

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "loader/json/json_field.h"
#include "loader/tokenizer/known_patterns.h"
#include "loader/tokenizer/regex.h"

namespace mneme::loader::tokenizer_internal {

// Immutable and thread safe.
class Pattern {
 public:
  // From {"String": text} or {"Regex": pattern}.
  static absl::StatusOr<Pattern> Build(const JsonField& field);
  static Pattern Gpt2() { return Pattern(FindGpt2); }
  static Pattern Character(char32_t c);                         // one character
  static Pattern Numbers() { return Pattern(Kind::kNumbers); }  // any one character of \p{N}

  // Appends the matches in `text` (valid UTF-8), left to right, without overlap.
  absl::Status FindAll(std::string_view text, SearchBudget* budget,
                       std::vector<Span>* matches) const;

 private:
  enum class Kind { kLiteral, kRegex, kFunction, kNumbers };
  explicit Pattern(Kind kind) : kind_(kind) {}
  explicit Pattern(MatchFunction find) : kind_(Kind::kFunction), find_(find) {}

  Kind kind_;
  MatchFunction find_ = nullptr;
  std::string literal_;
  std::unique_ptr<Regex> regex_;
};

// The library's SplitDelimiterBehavior.
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

absl::StatusOr<SplitBehavior> ReadSplitBehavior(const JsonField& field);

// Appends the pieces of a text of `size` bytes, divided by `matches` (as FindAll gives them);
// invert: what lies between the matches counts as the match. Empty pieces are left out.
void SplitByMatches(uint32_t size, const std::vector<Span>& matches, SplitBehavior behavior,
                    bool invert, std::vector<Span>* pieces);

}  // namespace mneme::loader::tokenizer_internal

#endif  // MNEME_LOADER_TOKENIZER_PATTERN_H_
