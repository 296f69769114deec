// Finds many contents in a text, leftmost, then longest.
#ifndef MNEME_LOADER_TOKENIZER_TOKEN_SEARCH_H_
#define MNEME_LOADER_TOKENIZER_TOKEN_SEARCH_H_

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mneme::loader::tokenizer_internal {

// An automaton of Aho and Corasick over the contents read backwards. Read from its end, a text
// leads at each byte to the longest content that begins there, so that choosing the leftmost and
// longest is a walk over these. Time is linear in the text, whatever the contents: an automaton
// that reads forwards has to go back behind every match. At most 13 bytes of memory for each byte
// of the contents.
//
// Immutable after Build and thread safe.
class TokenSearch {
 public:
  struct Content {
    std::string text;
    int32_t value;
  };
  // REQUIRES: no content is empty; at most 2^31 bytes together. Of equal ones the first counts.
  static TokenSearch Build(std::vector<Content> contents);

  TokenSearch() = default;  // finds nothing
  bool empty() const { return sizes_.empty(); }

  struct Match {
    size_t begin, size;  // bytes of the text
    int32_t value;
  };

  // The matches in a text, one after the other, each behind the one before it.
  class Scan {
   public:
    // Both must outlive the scan. REQUIRES: a text of less than 2^32 bytes.
    Scan(const TokenSearch* search, std::string_view text) : search_(*search), text_(text) {}
    // False: there are no more.
    bool Next(Match* match);

   private:
    struct Candidate {
      uint32_t begin;
      int32_t content;
    };
    void SearchBlock(size_t begin);

    const TokenSearch& search_;
    std::string_view text_;
    size_t at_ = 0;                 // behind the last match
    size_t searched_ = 0;           // where the last block ended
    std::vector<Candidate> found_;  // in that block, the first one last
  };

 private:
  // A node's child, 0 if there is none. REQUIRES: not the root, which has a table.
  uint32_t Child(uint32_t node, uint8_t byte) const;
  void AddNodes(const std::vector<Content>& sorted);
  void AddLinks();

  struct Size {
    size_t size;
    int32_t value;
  };
  std::vector<Size> sizes_;  // of the contents
  size_t longest_ = 0;
  // Nodes in order of depth, the root first; a node's children follow one another.
  std::array<uint32_t, 256> root_ = {};  // the root's children by their bytes
  std::vector<uint8_t> bytes_;           // by which its parent reaches a node
  std::vector<uint32_t> first_child_;    // one more than there are nodes
  std::vector<uint32_t> fail_;           // the node of the longest proper suffix of its path
  std::vector<int32_t> longest_of_;      // the longest content that ends its path, -1 for none
};

}  // namespace mneme::loader::tokenizer_internal

#endif  // MNEME_LOADER_TOKENIZER_TOKEN_SEARCH_H_
