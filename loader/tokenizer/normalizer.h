// The "normalizer" of a tokenizer.json: NFC, Prepend, Replace and sequences of them.
#ifndef MNEME_LOADER_TOKENIZER_NORMALIZER_H_
#define MNEME_LOADER_TOKENIZER_NORMALIZER_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "loader/json/json_field.h"
#include "loader/tokenizer/pattern.h"

namespace mneme::loader::tokenizer_internal {

// The most bytes that a section of text may grow to.
inline constexpr size_t kMaxNormalizedBytes = size_t{512} << 20;

// The library keeps, for each character of a text that was rewritten, where in the input it comes
// from, and asks whether that is the input's very beginning (Metaspace with "first"). Such
// characters stand together at a text's start; `leading` is how many bytes they have: of the input
// itself, its first character's. Null: of a text that begins elsewhere, where nobody asks.

// Replaces every match of `pattern` by `content`. RESOURCE_EXHAUSTED when the result is too long.
// *leading is that of the text, then of the result: `content` comes from where the match's last
// character does.
absl::Status ReplaceAll(const Pattern& pattern, std::string_view content, SearchBudget* budget,
                        std::string* text, size_t* leading = nullptr);

// Immutable and thread safe.
class Normalizer {
 public:
  // A missing or null field gives the identity.
  static absl::StatusOr<Normalizer> Build(const JsonField& field);

  // Valid UTF-8 in and out, each with its `leading`. Errors of the pattern's search and of the
  // size.
  absl::Status Normalize(SearchBudget* budget, std::string* text, size_t* leading = nullptr) const;
  bool IsIdentity() const { return steps_.empty(); }

 private:
  struct Step {
    enum class Kind { kNfc, kPrepend, kReplace } kind;
    std::string content;           // what is prepended or put in
    std::vector<Pattern> pattern;  // one, of kReplace
  };
  absl::Status Add(const JsonField& field);

  std::vector<Step> steps_;
};

}  // namespace mneme::loader::tokenizer_internal

#endif  // MNEME_LOADER_TOKENIZER_NORMALIZER_H_
