// Byte pair encoding: a piece of text to ids.
//
// A piece starts as one symbol per character; then, again and again, the one adjacent pair of
// lowest rank (the leftmost of equals) becomes one symbol, until no adjacent pair has a rank.
#ifndef MNEME_LOADER_TOKENIZER_BPE_H_
#define MNEME_LOADER_TOKENIZER_BPE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "loader/json/json_field.h"
#include "loader/tokenizer/merge_table.h"
#include "loader/tokenizer/vocabulary.h"

namespace mneme::loader::tokenizer_internal {

// Immutable and thread safe; callers bring the scratch memory.
class Bpe {
 public:
  struct Candidate {
    uint64_t order;  // rank << 32 | position
    int32_t id;
  };
  struct Symbol {
    int32_t id;
    int32_t previous, next;  // indices of symbols, -1 at the ends; id is -1 once merged away
  };
  // Memory that Encode reuses from piece to piece.
  struct Scratch {
    std::vector<int32_t> ids;
    std::vector<Merge> merges;
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
  };

  // From the file's "model".
  static absl::StatusOr<Bpe> Build(const JsonField& model);

  // Appends the ids of one piece (valid UTF-8). O(n log n). INVALID_ARGUMENT when a character needs
  // the unknown token and the vocabulary lacks it.
  absl::Status Encode(std::string_view piece, Scratch* scratch, std::vector<int32_t>* ids) const;

  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  absl::Status ReadFlags(const JsonField& model);
  absl::Status ReadMerges(const JsonField& merges);
  void IndexCharacters();
  int32_t IdOfCharacter(char32_t c) const;
  absl::Status FirstSymbols(std::string_view piece, std::vector<int32_t>* ids) const;
  bool AppendBytes(std::string_view character, std::vector<int32_t>* ids) const;
  void MergeShort(Scratch* scratch) const;
  void MergeLong(Scratch* scratch) const;
  void Push(const Symbol& left, int32_t position, Scratch* scratch) const;

  Vocabulary vocabulary_;
  MergeTable merges_;
  std::string unk_token_;
  bool has_unk_ = false;
  int32_t unk_id_ = -1;
  bool fuse_unk_ = false, byte_fallback_ = false, ignore_merges_ = false;
  // Ids of the tokens of one character: a table for low code points, a map for the others.
  std::vector<int32_t> low_characters_;
  std::unordered_map<char32_t, int32_t> high_characters_;
  int32_t byte_ids_[256];  // of "<0x00>"..., -1 if the vocabulary lacks it
};

}  // namespace mneme::loader::tokenizer_internal

#endif  // MNEME_LOADER_TOKENIZER_BPE_H_
