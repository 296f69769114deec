// The "decoder" of a tokenizer.json: tokens back to text, whole or token by token.
//
// The library runs each decoder over the list of all tokens. Here the chain is compiled, for a
// stream, into four stages:
//   1. edits of each token by itself: Replace, Strip, Metaspace. Done for all ids at load.
//   2. bytes: ByteLevel or ByteFallback or neither.
//   3. Fuse: from here on there is one text.
//   4. Strip of the whole text.
// A chain whose order does not fit is refused by name.
#ifndef MNEME_LOADER_TOKENIZER_DECODER_H_
#define MNEME_LOADER_TOKENIZER_DECODER_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "loader/json/json_field.h"
#include "loader/tokenizer/decoder_state.h"
#include "loader/tokenizer/pattern.h"

namespace mneme::loader::tokenizer_internal {

// Many short strings in one pool.
class StringTable {
 public:
  void Append(std::string_view text) {
    pool_ += text;
    ends_.push_back(pool_.size());
  }
  std::string_view operator[](size_t i) const {
    const size_t begin = i == 0 ? 0 : ends_[i - 1];
    return std::string_view(pool_).substr(begin, ends_[i] - begin);
  }
  size_t size() const { return ends_.size(); }

 private:
  std::string pool_;
  std::vector<size_t> ends_;
};

// Immutable after Index and thread safe.
class Decoder {
 public:
  // A missing or null field joins tokens with spaces, as the library does.
  static absl::StatusOr<Decoder> Build(const JsonField& field);

  // Prepares ids 0 to count - 1; content(id) is a token's, or nullopt for an unknown id, which
  // callers never decode. Errors of the patterns' searches, of the size and of a spent budget.
  absl::Status Index(int32_t count,
                     const std::function<std::optional<std::string_view>(int32_t)>& content,
                     SearchBudget* budget);

  // Appends what can be said once this token has come. Requires an id that was indexed.
  void Append(int32_t id, DecoderState* state, std::string* out) const;
  // Appends what is left at the end.
  void Flush(DecoderState* state, std::string* out) const;

  // The text of all tokens. Differs from the above for runs of byte tokens only: one that is
  // ill-formed is U+FFFD throughout.
  std::string Decode(std::span<const int32_t> ids) const;

 private:
  enum class Bytes { kNone, kByteLevel, kByteFallback };
  struct Edit {
    enum class Kind { kReplace, kStrip, kMetaspace } kind = Kind::kReplace;
    std::vector<Pattern> pattern;  // one, of kReplace
    std::string content;           // of kReplace
    char32_t character = 0;        // of kStrip and kMetaspace
    int32_t start = 0, stop = 0;   // of kStrip
    bool drops_in_first = false;   // of kMetaspace
  };
  absl::Status Add(const JsonField& field);
  absl::Status AddReplace(const JsonField& field);
  absl::Status AddStrip(const JsonField& field);
  absl::Status AddMetaspace(const JsonField& field);
  absl::Status WrongOrder(const JsonField& field, std::string_view name) const;
  absl::StatusOr<std::string> Edited(std::string_view content, bool first,
                                     SearchBudget* budget) const;

  std::string_view TextOf(int32_t id, DecoderState* state, std::string* out) const;
  void AppendBytes(std::string_view bytes, DecoderState* state, std::string* out) const;
  void AppendRunByte(uint8_t byte, DecoderState* state, std::string* out) const;
  void EmitOfRun(std::string_view character, DecoderState* state, std::string* out) const;
  void SpoilRun(DecoderState* state, std::string* out) const;
  void EndRun(DecoderState* state, std::string* out) const;
  void EmitRun(std::string_view run, DecoderState* state, std::string* out) const;
  void EmitBad(int64_t count, DecoderState* state, std::string* out) const;
  void Emit(std::string_view text, DecoderState* state, std::string* out) const;

  size_t steps_ = 0;  // of any kind
  std::vector<Edit> edits_;
  Bytes bytes_ = Bytes::kNone;
  bool fused_ = false;
  bool strips_text_ = false;
  char32_t strip_character_ = 0;
  int32_t strip_start_ = 0, strip_stop_ = 0;
  bool joins_with_space_ = false;
  bool first_differs_ = false;

  StringTable texts_;        // of tokens that are not the first
  StringTable first_texts_;  // of a first token, if that differs
};

}  // namespace mneme::loader::tokenizer_internal

#endif  // MNEME_LOADER_TOKENIZER_DECODER_H_
