#include "loader/tokenizer/token_trie.h"

namespace mneme::loader::tokenizer_internal {

void TokenTrie::Insert(std::string_view content, int32_t value) {
  const auto add = [this] {
    nodes_.push_back(-1);
    return static_cast<int32_t>(nodes_.size()) - 1;
  };
  int32_t& first = first_[static_cast<uint8_t>(content[0])];
  if (first < 0) first = add();
  int32_t node = first;
  for (const char byte : content.substr(1)) {
    const uint64_t edge = static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(byte);
    int32_t child = Child(node, static_cast<uint8_t>(byte));
    if (child < 0) edges_.emplace(edge, child = add());
    node = child;
  }
  if (nodes_[node] < 0) nodes_[node] = value;
}

TokenTrie::Match TokenTrie::Longest(std::string_view text) const {
  Match best = {-1, 0};
  if (text.empty()) return best;
  int32_t node = first_[static_cast<uint8_t>(text[0])];
  for (size_t size = 1; node >= 0; ++size) {
    if (nodes_[node] >= 0) best = {nodes_[node], size};
    if (size == text.size()) break;
    node = Child(node, static_cast<uint8_t>(text[size]));
  }
  return best;
}

}  // namespace mneme::loader::tokenizer_internal
