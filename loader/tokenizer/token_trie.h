// Finds the longest of many contents at a place of a text.
#ifndef MNEME_LOADER_TOKENIZER_TOKEN_TRIE_H_
#define MNEME_LOADER_TOKENIZER_TOKEN_TRIE_H_

#include <array>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace mneme::loader::tokenizer_internal {

// A trie of bytes. Finding costs the length of the longest content that the text begins to spell.
class TokenTrie {
 public:
  TokenTrie() { first_.fill(-1); }

  // Requires a content that is not empty, and value >= 0. The first value of a content stays.
  void Insert(std::string_view content, int32_t value);

  bool empty() const { return nodes_.empty(); }
  // Whether any content starts with this byte.
  bool StartsWith(char byte) const { return first_[static_cast<uint8_t>(byte)] >= 0; }
  // The value and size of the longest content that `text` starts with; size 0 if there is none.
  struct Match {
    int32_t value;
    size_t size;
  };
  Match Longest(std::string_view text) const;

 private:
  int32_t Child(int32_t node, uint8_t byte) const {
    const auto found = edges_.find(static_cast<uint64_t>(node) << 8 | byte);
    return found == edges_.end() ? -1 : found->second;
  }

  std::array<int32_t, 256> first_;  // the nodes of contents' first bytes
  std::vector<int32_t> nodes_;      // the value that ends there, or -1
  std::unordered_map<uint64_t, int32_t> edges_;
};

}  // namespace mneme::loader::tokenizer_internal

#endif  // MNEME_LOADER_TOKENIZER_TOKEN_TRIE_H_
