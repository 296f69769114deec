#include "loader/tokenizer/token_search.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace mneme::loader::tokenizer_internal {

namespace {

// How much of a text is searched at once: what is found waits in memory, 8 bytes for each place
// where a content begins. A block is read with as many bytes behind it as the longest content has.
constexpr size_t kBlockBytes = 32768;
constexpr size_t kBlockContents = 8;  // or so many of the longest content's, if that is more

}  // namespace

TokenSearch TokenSearch::Build(std::vector<Content> contents) {
  TokenSearch search;
  if (contents.empty()) return search;
  for (Content& content : contents) std::reverse(content.text.begin(), content.text.end());
  std::stable_sort(contents.begin(), contents.end(),
                   [](const Content& a, const Content& b) { return a.text < b.text; });
  const auto equal = [](const Content& a, const Content& b) { return a.text == b.text; };
  contents.erase(std::unique(contents.begin(), contents.end(), equal), contents.end());
  for (const Content& content : contents) {
    search.sizes_.push_back({content.text.size(), content.value});
    search.longest_ = std::max(search.longest_, content.text.size());
  }
  search.AddNodes(contents);
  search.AddLinks();
  return search;
}

void TokenSearch::AddNodes(const std::vector<Content>& sorted) {
  // The contents that begin with a node's path.
  struct Range {
    uint32_t begin, end;
  };
  std::vector<Range> level = {{0, static_cast<uint32_t>(sorted.size())}}, next;
  bytes_.push_back(0);
  for (size_t depth = 0; !level.empty(); ++depth) {
    next.clear();
    for (Range range : level) {
      first_child_.push_back(static_cast<uint32_t>(bytes_.size()));
      const bool ends = sorted[range.begin].text.size() == depth;
      longest_of_.push_back(ends ? static_cast<int32_t>(range.begin) : -1);
      if (ends) ++range.begin;
      while (range.begin < range.end) {
        const char byte = sorted[range.begin].text[depth];
        const uint32_t begin = range.begin;
        while (range.begin < range.end && sorted[range.begin].text[depth] == byte) {
          ++range.begin;
        }
        next.push_back({begin, range.begin});
        bytes_.push_back(static_cast<uint8_t>(byte));
      }
    }
    level.swap(next);
  }
  first_child_.push_back(static_cast<uint32_t>(bytes_.size()));
  for (uint32_t child = first_child_[0]; child < first_child_[1]; ++child) {
    root_[bytes_[child]] = child;
  }
}

void TokenSearch::AddLinks() {
  fail_.assign(bytes_.size(), 0);
  for (uint32_t node = 1; node < bytes_.size(); ++node) {
    if (longest_of_[node] < 0) longest_of_[node] = longest_of_[fail_[node]];
    for (uint32_t child = first_child_[node]; child < first_child_[node + 1]; ++child) {
      const uint8_t byte = bytes_[child];
      uint32_t suffix = fail_[node];
      while (suffix != 0 && Child(suffix, byte) == 0) suffix = fail_[suffix];
      fail_[child] = suffix == 0 ? root_[byte] : Child(suffix, byte);
    }
  }
}

uint32_t TokenSearch::Child(uint32_t node, uint8_t byte) const {
  const uint32_t begin = first_child_[node];
  const uint32_t count = first_child_[node + 1] - begin;
  if (count == 0) return 0;
  if (bytes_[begin] == byte) return begin;
  if (count == 1) return 0;
  const auto* found = static_cast<const uint8_t*>(std::memchr(&bytes_[begin] + 1, byte, count - 1));
  return found == nullptr ? 0 : static_cast<uint32_t>(found - bytes_.data());
}

bool TokenSearch::Scan::Next(Match* match) {
  if (search_.empty()) return false;
  for (;;) {
    while (!found_.empty() && found_.back().begin < at_) found_.pop_back();
    if (!found_.empty()) {
      const Size& content = search_.sizes_[found_.back().content];
      *match = {found_.back().begin, content.size, content.value};
      at_ = match->begin + match->size;
      return true;
    }
    const size_t begin = std::max(at_, searched_);
    if (begin >= text_.size()) return false;
    SearchBlock(begin);
  }
}

void TokenSearch::Scan::SearchBlock(size_t begin) {
  const size_t block = std::max(kBlockBytes, kBlockContents * search_.longest_);
  const size_t end = begin + std::min(block, text_.size() - begin);
  searched_ = end;
  // Copies: what push_back may have written to would be read again for each byte.
  const TokenSearch& search = search_;
  const uint32_t* const root = search.root_.data();
  const uint32_t* const fail = search.fail_.data();
  const int32_t* const longest_of = search.longest_of_.data();
  const char* const text = text_.data();
  uint32_t node = 0;
  for (size_t at = end + std::min(search.longest_ - 1, text_.size() - end); at > begin;) {
    const uint8_t byte = static_cast<uint8_t>(text[--at]);
    uint32_t child = 0;
    while (node != 0 && (child = search.Child(node, byte)) == 0) node = fail[node];
    node = node == 0 ? root[byte] : child;
    if (node == 0) continue;  // most of a usual text
    const int32_t content = longest_of[node];
    if (content >= 0 && at < end) found_.push_back({static_cast<uint32_t>(at), content});
  }
}

}  // namespace mneme::loader::tokenizer_internal
