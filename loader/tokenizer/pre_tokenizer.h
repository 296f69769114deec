// The "pre_tokenizer" of a tokenizer.json: divides a section of text into the pieces that the model
// encodes one by one. ByteLevel, Split, Digits, Metaspace and sequences of them.
#ifndef MNEME_LOADER_TOKENIZER_PRE_TOKENIZER_H_
#define MNEME_LOADER_TOKENIZER_PRE_TOKENIZER_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "loader/json/json_field.h"
#include "loader/tokenizer/pattern.h"

namespace mneme::loader::tokenizer_internal {

// A text and how it is divided. Between Start and the last step the pieces are in order and none is
// empty.
struct Pieces {
  std::string text;
  std::vector<Span> spans;
  size_t leading = 0;  // of `text`, as normalizer.h defines it

  // Memory of the steps.
  std::string next_text;
  std::vector<Span> next_spans, matches;

  std::string_view Piece(const Span& span) const {
    return std::string_view(text).substr(span.begin, span.end - span.begin);
  }
};

// When Metaspace puts its replacement before a piece that does not start with it.
enum class MetaspacePrefix { kNever, kFirst, kAlways };

// The members prepend_scheme and add_prefix_space of a Metaspace.
absl::StatusOr<MetaspacePrefix> ReadMetaspacePrefix(const JsonField& field);

// Immutable and thread safe.
class PreTokenizer {
 public:
  // A missing or null field leaves each section whole.
  static absl::StatusOr<PreTokenizer> Build(const JsonField& field);

  // Divides `section`, replacing what *pieces held. leading: of the section, as normalizer.h
  // defines it. Errors of a pattern's search and of the size.
  absl::Status Run(std::string_view section, size_t leading, SearchBudget* budget,
                   Pieces* pieces) const;

 private:
  using Prefix = MetaspacePrefix;
  struct Step {
    enum class Kind { kSplit, kByteLevel, kMetaspace } kind = Kind::kSplit;
    // kSplit, and the division that kByteLevel (GPT-2's) and kMetaspace (at the replacement) make.
    std::vector<Pattern> pattern;  // one, or none: no division
    SplitBehavior behavior = SplitBehavior::kIsolated;
    bool invert = false;
    // Goes before pieces that do not start with it.
    Prefix prefix = Prefix::kNever;
    std::string prefix_text;  // of kMetaspace also what replaces a space
  };
  absl::Status Add(const JsonField& field);
  absl::Status AddByteLevel(const JsonField& field);
  absl::Status AddSplit(const JsonField& field);
  absl::Status AddDigits(const JsonField& field);
  absl::Status AddMetaspace(const JsonField& field);
  static absl::Status Divide(const Step& step, SearchBudget* budget, Pieces* pieces);
  static absl::Status Transform(const Step& step, Pieces* pieces);

  std::vector<Step> steps_;
};

}  // namespace mneme::loader::tokenizer_internal

#endif  // MNEME_LOADER_TOKENIZER_PRE_TOKENIZER_H_
