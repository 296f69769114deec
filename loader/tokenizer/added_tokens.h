// The "added_tokens" of a tokenizer.json: contents that are found in the text before the model sees
// it, with their flags.
#ifndef MNEME_LOADER_TOKENIZER_ADDED_TOKENS_H_
#define MNEME_LOADER_TOKENIZER_ADDED_TOKENS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "loader/json/json_field.h"
#include "loader/tokenizer/normalizer.h"
#include "loader/tokenizer/token_search.h"
#include "loader/tokenizer/vocabulary.h"

namespace mneme::loader::tokenizer_internal {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool single_word = false;  // found only where no \w is next to it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // and behind it
  bool normalized = false;   // found in the normalised text, by its normalised content
  bool special = false;      // skipped by Decode if asked
};

// A section of text: an added token, or text that holds none.
struct Section {
  const AddedToken* token;  // null: text
  std::string_view text;    // of a token: without meaning
};

// Immutable after Build and thread safe.
class AddedTokens {
 public:
  // Ids of tokens that the vocabulary lacks follow it in file order, whatever the file's "id" says:
  // so does the library. `budget` is for normalising the contents.
  static absl::StatusOr<AddedTokens> Build(const JsonField& field, const Vocabulary& vocabulary,
                                           const Normalizer& normalizer, SearchBudget* budget);

  // Appends the sections of `text`, in order; tokens are those with this `normalized`. Leftmost,
  // then longest, over bare contents; the flags are looked at afterwards. A token of white space
  // with `lstrip` is left out where the `rstrip` of the one before it took all of it.
  // INVALID_ARGUMENT where it took more than that: there the library fails. Linear in the text.
  absl::Status Split(std::string_view text, bool normalized, std::vector<Section>* sections) const;

  const AddedToken* Find(std::string_view content) const;
  const AddedToken* Find(int32_t id) const;
  const std::vector<AddedToken>& tokens() const { return tokens_; }
  int32_t end_id() const { return end_id_; }  // highest id + 1, 0 if there is no token

 private:
  struct Numbering;
  absl::Status Add(const JsonField& field, const Vocabulary& vocabulary, Numbering* numbering);

  std::vector<AddedToken> tokens_;
  std::unordered_map<std::string, int32_t> by_content_;  // indices of tokens_
  std::unordered_map<int32_t, int32_t> by_id_;
  TokenSearch searches_[2];  // [normalized]; values are indices of tokens_
  int32_t end_id_ = 0;
};

}  // namespace mneme::loader::tokenizer_internal

#endif  // MNEME_LOADER_TOKENIZER_ADDED_TOKENS_H_
