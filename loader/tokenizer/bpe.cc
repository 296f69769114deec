#include "loader/tokenizer/bpe.h"

#include <algorithm>
#include <utility>

#include "loader/text/text.h"
#include "loader/tokenizer/message.h"
#include "loader/tokenizer/utf8.h"

namespace mneme::loader::tokenizer_internal {

namespace {

// Code points with an entry in a plain table: all that UTF-8 spells with one or two bytes, which
// holds the byte-level alphabet.
constexpr char32_t kLowCharacters = 0x800;

// Pieces up to this many symbols are merged by scanning for the best pair: quadratic, but without
// a heap. Measured even at about 60 on English text; words are shorter.
constexpr size_t kShortPiece = 48;

// Orders a std heap so that its front is the lowest rank, the leftmost of equals. Not a function:
// the heap's operations would call it through a pointer, which took half of their time.
struct IsAfter {
  bool operator()(const Bpe::Candidate& a, const Bpe::Candidate& b) const {
    return a.order > b.order;
  }
};

// "a b" or ["a", "b"].
absl::StatusOr<std::pair<std::string_view, std::string_view>> ReadPair(const JsonField& merge) {
  const JsonValue& value = merge.value();
  if (value.kind() == JsonKind::kString) {
    const std::string_view text = value.string();
    const size_t space = text.find(' ');
    if (space == text.npos || text.find(' ', space + 1) != text.npos) {
      return merge.Expected("two tokens with one space between them");
    }
    return std::make_pair(text.substr(0, space), text.substr(space + 1));
  }
  if (value.kind() != JsonKind::kArray || value.count() != 2 ||
      value.first().kind() != JsonKind::kString ||
      value.first().next().kind() != JsonKind::kString) {
    return merge.Expected("\"a b\" or [\"a\", \"b\"]");
  }
  return std::make_pair(value.first().string(), value.first().next().string());
}

// "<0x0A>".
std::string ByteToken(int byte) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  return {'<', '0', 'x', kDigits[byte >> 4], kDigits[byte & 15], '>'};
}

}  // namespace

absl::StatusOr<Bpe> Bpe::Build(const JsonField& model) {
  Bpe bpe;
  if (absl::Status status = bpe.ReadFlags(model); !status.ok()) return status;
  absl::StatusOr<Vocabulary> vocabulary = Vocabulary::Build(model.Member("vocab"));
  if (!vocabulary.ok()) return vocabulary.status();
  bpe.vocabulary_ = *std::move(vocabulary);
  if (absl::Status status = bpe.ReadMerges(model.Member("merges")); !status.ok()) return status;
  bpe.unk_id_ = bpe.has_unk_ ? bpe.vocabulary_.Find(bpe.unk_token_).value_or(-1) : -1;
  bpe.IndexCharacters();
  return bpe;
}

absl::Status Bpe::ReadFlags(const JsonField& model) {
  if (!model.value().exists() || model.value().kind() != JsonKind::kObject) {
    return model.Expected("an object");
  }
  // Files of the first releases have no type; only a BPE model has merges.
  const JsonField type = model.Member("type");
  if (!type.IsNull() || !model.Member("merges").value().exists()) {
    const absl::StatusOr<std::string_view> name = type.String();
    if (!name.ok()) return name.status();
    if (*name != "BPE") return type.Unsupported(Message("the model ", Quote(*name)), "BPE");
  }
  if (absl::Status status = model.OnlyMembers(
          {"type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix",
           "fuse_unk", "byte_fallback", "ignore_merges", "vocab", "merges"});
      !status.ok()) {
    return status;
  }
  const JsonField dropout = model.Member("dropout");
  if (!dropout.IsNull()) {
    const JsonKind kind = dropout.value().kind();
    if (kind != JsonKind::kInteger && kind != JsonKind::kNumber)
      return dropout.Expected("a number");
    if (dropout.value().number() != 0) {
      return dropout.Unsupported("a random tokenization", "null and 0");
    }
  }
  for (const char* name : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const JsonField affix = model.Member(name);
    if (affix.IsNull()) continue;
    const absl::StatusOr<std::string_view> text = affix.String();
    if (!text.ok()) return text.status();
    if (!text->empty()) return affix.Unsupported(Quote(*text), "null and \"\"");
  }
  if (const JsonField unk = model.Member("unk_token"); !unk.IsNull()) {
    const absl::StatusOr<std::string_view> text = unk.String();
    if (!text.ok()) return text.status();
    unk_token_ = *text;
    has_unk_ = true;
  }
  for (const auto& [name, flag] :
       {std::pair{"fuse_unk", &fuse_unk_}, std::pair{"byte_fallback", &byte_fallback_},
        std::pair{"ignore_merges", &ignore_merges_}}) {
    const absl::StatusOr<bool> value = model.Member(name).BoolOr(false);
    if (!value.ok()) return value.status();
    *flag = *value;
  }
  return absl::OkStatus();
}

absl::Status Bpe::ReadMerges(const JsonField& merges) {
  if (!merges.value().exists() || merges.value().kind() != JsonKind::kArray) {
    return merges.Expected("an array");
  }
  merges_ = MergeTable(merges.value().count());
  std::string merged;
  int64_t index = 0;
  uint32_t rank = 0;
  for (JsonValue v = merges.value().first(); v.exists(); v = v.next(), ++index) {
    // The header of a merges.txt, which some converters copy.
    if (v.kind() == JsonKind::kString && v.string().substr(0, 8) == "#version") continue;
    const auto field = [&] { return merges.Element(v, index); };
    absl::StatusOr<std::pair<std::string_view, std::string_view>> pair = ReadPair(field());
    if (!pair.ok()) return pair.status();
    merged.assign(pair->first);
    merged.append(pair->second);
    int32_t ids[3];
    int i = 0;
    for (const std::string_view token : {pair->first, pair->second, std::string_view(merged)}) {
      const std::optional<int32_t> id = vocabulary_.Find(token);
      if (!id.has_value()) {
        return field().Error(Message("token ", Quote(token), " is not in the vocabulary"));
      }
      ids[i++] = *id;
    }
    // Of two merges of one pair the later one counts, as in the library.
    merges_.Set(ids[0], ids[1], Merge{rank++, ids[2]});
  }
  return absl::OkStatus();
}

void Bpe::IndexCharacters() {
  low_characters_.assign(kLowCharacters, -1);
  for (int32_t id = 0; id < vocabulary_.end_id(); ++id) {
    const std::string_view token = vocabulary_.Token(id);
    if (token.empty()) continue;
    const Utf8Char c = DecodeUtf8(token);
    if (c.size != token.size()) continue;
    if (c.code_point < kLowCharacters) {
      low_characters_[c.code_point] = id;
    } else {
      high_characters_.emplace(c.code_point, id);
    }
  }
  for (int byte = 0; byte < 256; ++byte) {
    byte_ids_[byte] = vocabulary_.Find(ByteToken(byte)).value_or(-1);
  }
}

int32_t Bpe::IdOfCharacter(char32_t c) const {
  if (c < kLowCharacters) return low_characters_[c];
  const auto found = high_characters_.find(c);
  return found == high_characters_.end() ? -1 : found->second;
}

bool Bpe::AppendBytes(std::string_view character, std::vector<int32_t>* ids) const {
  const size_t start = ids->size();
  for (const char byte : character) {
    const int32_t id = byte_ids_[static_cast<uint8_t>(byte)];
    if (id < 0) {
      ids->resize(start);
      return false;
    }
    ids->push_back(id);
  }
  return true;
}

absl::Status Bpe::FirstSymbols(std::string_view piece, std::vector<int32_t>* ids) const {
  // An unknown token waits for the next known character, so that a run can become one. Bytes do not
  // release it: in the library, too, they go in front of it.
  bool unk_waits = false;
  while (!piece.empty()) {
    const Utf8Char c = DecodeUtf8(piece);
    const std::string_view character = piece.substr(0, c.size);
    piece.remove_prefix(c.size);
    if (const int32_t id = IdOfCharacter(c.code_point); id >= 0) {
      if (std::exchange(unk_waits, false)) ids->push_back(unk_id_);
      ids->push_back(id);
      continue;
    }
    if (byte_fallback_ && AppendBytes(character, ids)) continue;
    if (!has_unk_) continue;
    if (unk_id_ < 0) {
      return absl::InvalidArgumentError(
          Message("the text has the character ", Quote(character),
                  ", which the tokenizer does not know, and its unknown token ", Quote(unk_token_),
                  " is not in its vocabulary"));
    }
    if (unk_waits && !fuse_unk_) ids->push_back(unk_id_);
    unk_waits = true;
  }
  if (unk_waits) ids->push_back(unk_id_);
  return absl::OkStatus();
}

absl::Status Bpe::Encode(std::string_view piece, Scratch* scratch,
                         std::vector<int32_t>* ids) const {
  if (piece.empty()) return absl::OkStatus();
  if (ignore_merges_) {
    if (const std::optional<int32_t> id = vocabulary_.Find(piece); id.has_value()) {
      ids->push_back(*id);
      return absl::OkStatus();
    }
  }
  scratch->ids.clear();
  if (absl::Status status = FirstSymbols(piece, &scratch->ids); !status.ok()) return status;
  if (scratch->ids.size() <= kShortPiece) {
    MergeShort(scratch);
  } else {
    MergeLong(scratch);
  }
  ids->insert(ids->end(), scratch->ids.begin(), scratch->ids.end());
  return absl::OkStatus();
}

void Bpe::MergeShort(Scratch* scratch) const {
  std::vector<int32_t>& ids = scratch->ids;
  std::vector<Merge>& merges = scratch->merges;  // merges[i]: of ids[i] and ids[i + 1]
  merges.clear();
  for (size_t i = 0; i + 1 < ids.size(); ++i) merges.push_back(merges_.Find(ids[i], ids[i + 1]));
  while (true) {
    size_t best = 0;
    uint32_t rank = Merge::kNoRank;
    for (size_t i = 0; i < merges.size(); ++i) {
      if (merges[i].rank < rank) {
        rank = merges[i].rank;
        best = i;
      }
    }
    if (rank == Merge::kNoRank) return;
    ids[best] = merges[best].id;
    ids.erase(ids.begin() + best + 1);
    merges.erase(merges.begin() + best);
    if (best > 0) merges[best - 1] = merges_.Find(ids[best - 1], ids[best]);
    if (best < merges.size()) merges[best] = merges_.Find(ids[best], ids[best + 1]);
  }
}

void Bpe::Push(const Symbol& left, int32_t position, Scratch* scratch) const {
  const Merge merge = merges_.Find(left.id, scratch->symbols[left.next].id);
  if (merge.rank == Merge::kNoRank) return;
  scratch->heap.push_back(
      {static_cast<uint64_t>(merge.rank) << 32 | static_cast<uint32_t>(position), merge.id});
}

void Bpe::MergeLong(Scratch* scratch) const {
  std::vector<Symbol>& symbols = scratch->symbols;
  std::vector<Candidate>& heap = scratch->heap;
  symbols.clear();
  heap.clear();
  const int32_t count = static_cast<int32_t>(scratch->ids.size());
  for (int32_t i = 0; i < count; ++i) {
    symbols.push_back({scratch->ids[i], i - 1, i + 1 < count ? i + 1 : -1});
  }
  for (int32_t i = 0; i + 1 < count; ++i) Push(symbols[i], i, scratch);
  std::make_heap(heap.begin(), heap.end(), IsAfter());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), IsAfter());
    const Candidate top = heap.back();
    heap.pop_back();
    const int32_t position = static_cast<int32_t>(top.order & UINT32_MAX);
    Symbol& left = symbols[position];
    if (left.id < 0 || left.next < 0) continue;
    Symbol& right = symbols[left.next];
    // A candidate outlives its pair: it counts only if the pair at hand still gives its token.
    if (merges_.Find(left.id, right.id).id != top.id) continue;
    left.id = top.id;
    right.id = -1;
    left.next = right.next;
    if (left.next >= 0) {
      symbols[left.next].previous = position;
      const size_t size = heap.size();
      Push(left, position, scratch);
      if (heap.size() > size) std::push_heap(heap.begin(), heap.end(), IsAfter());
    }
    if (left.previous >= 0) {
      const size_t size = heap.size();
      Push(symbols[left.previous], left.previous, scratch);
      if (heap.size() > size) std::push_heap(heap.begin(), heap.end(), IsAfter());
    }
  }
  scratch->ids.clear();
  for (int32_t i = 0; i >= 0; i = symbols[i].next) scratch->ids.push_back(symbols[i].id);
}

}  // namespace mneme::loader::tokenizer_internal
