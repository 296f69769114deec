// Text to token ids and back, exactly as the library that wrote `tokenizer.json` does it (Hugging
// Face `tokenizers`): byte-level and metaspace BPE, added tokens, normalizers, pre-tokenizers,
// post-processors and decoders. A component that is not implemented is refused by name when the
// file is read; docs/tokenizers.md lists them.
//
// Character classes are those of Unicode 16, NFC is that of Unicode 9, as in the library.
#ifndef MNEME_LOADER_TOKENIZER_TOKENIZER_H_
#define MNEME_LOADER_TOKENIZER_TOKENIZER_H_

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "loader/tokenizer/decoder_state.h"

namespace mneme::loader {

// The most text that one Encode takes, in bytes.
inline constexpr int64_t kMaxEncodeBytes = int64_t{64} << 20;

// A tokenizer, immutable after Load. All methods are const and thread safe.
class Tokenizer {
 public:
  // Reads DIRECTORY/tokenizer.json. NOT_FOUND when there is none; INVALID_ARGUMENT naming file,
  // field and value for what cannot be read, and for a folder with a `tokenizer.model` only.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& directory);
  // The same from a file's bytes; `origin` is its name in messages.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Parse(std::string_view json,
                                                          const std::string& origin);
  ~Tokenizer();

  // text: valid UTF-8, at most kMaxEncodeBytes, else INVALID_ARGUMENT with the byte offset or the
  // size; also where the library has no ids for it (docs/tokenizers.md, added tokens). add_special:
  // run the post-processor (a BOS token in front, say). RESOURCE_EXHAUSTED when the file's regular
  // expression reaches a limit on this text: an error, never a wrong split; and as soon as there
  // are more than most_ids.
  absl::StatusOr<std::vector<int32_t>> Encode(
      std::string_view text, bool add_special,
      int64_t most_ids = std::numeric_limits<int64_t>::max()) const;

  // The text of ids. Unknown ids are skipped, special ones too if skip_special. Always valid UTF-8:
  // bytes that are none become U+FFFD.
  std::string Decode(std::span<const int32_t> ids, bool skip_special) const;

  // Highest id + 1, added tokens included.
  int32_t vocab_size() const;
  // The id of a token's exact content, in the vocabulary's own spelling or an added token's.
  std::optional<int32_t> TokenToId(std::string_view token) const;
  // The inverse; "" if there is no such id. The view lives as long as the tokenizer.
  std::string_view IdToToken(int32_t id) const;
  bool IsSpecial(int32_t id) const;

 private:
  friend class StreamDecoder;
  struct Parts;
  explicit Tokenizer(std::unique_ptr<Parts> parts);

  std::unique_ptr<Parts> parts_;
};

// Decodes one stream of ids as they come. The pieces, joined, equal Decode of the whole. A
// character is sent with the token that completes it. One exception, which no streaming can avoid:
// with byte fallback, a run of byte tokens that turns out ill-formed is replaced by U+FFFD as a
// whole in Decode, also what was already sent here.
//
// Not thread safe; the tokenizer must outlive it. Append and Flush allocate nothing but what *out
// needs to grow.
class StreamDecoder {
 public:
  StreamDecoder(const Tokenizer* tokenizer, bool skip_special);

  // Starts again, behind `context`: the first appended id continues the text of these ids (all of
  // the prompt; decoders that strip a leading space depend on where the text began).
  void Reset(std::span<const int32_t> context);
  // Appends zero or more bytes of valid UTF-8 to *out.
  void Append(int32_t id, std::string* out);
  // At the end: incomplete bytes become U+FFFD. Then only Reset may follow.
  void Flush(std::string* out);

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  DecoderState state_;
};

}  // namespace mneme::loader

#endif  // MNEME_LOADER_TOKENIZER_TOKENIZER_H_
