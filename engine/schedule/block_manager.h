// The blocks of the paged KV cache: who uses them, and which ones hold a known prefix.
//
// A block is *referenced* while a sequence's block table names it. A full block whose KV is
// computed may be *published*: it then stands in the prefix cache as the successor of another
// published block (or of the start) under its own tokens, and is found again by them. A block that
// nobody references is free, whether published or not; allocation takes unpublished ones first and
// then the published one that was used longest ago, which leaves the cache.
//
// A lookup is exact: the hash only finds candidates; a block matches if its tokens are equal and
// its predecessor is the very block matched before it. Predecessors are named by serial numbers
// that are never used twice, so a block whose predecessor was evicted can never match by accident.
//
// All memory is taken in the constructor. For one thread, the schedule's.
#ifndef MNEME_ENGINE_SCHEDULE_BLOCK_MANAGER_H_
#define MNEME_ENGINE_SCHEDULE_BLOCK_MANAGER_H_

#include <cstdint>
#include <span>
#include <vector>

namespace mneme::schedule {

inline constexpr int32_t kNoBlock = -1;
// The predecessor of a sequence's first block.
inline constexpr uint64_t kRootSerial = 0;

// Hash of a full block's tokens behind the blocks whose hash is `parent` (0 for the first).
uint64_t HashBlock(uint64_t parent, std::span<const int32_t> tokens);

class BlockManager {
 public:
  BlockManager(int32_t blocks, int32_t block_tokens);

  int32_t blocks() const { return blocks_; }
  int32_t block_tokens() const { return block_tokens_; }
  // Blocks that nobody references.
  int32_t free_blocks() const { return free_; }
  int32_t references(int32_t block) const { return entries_[block].references; }

  // A block with one reference, or kNoBlock when all are referenced.
  int32_t Allocate();
  void AddReference(int32_t block);
  // REQUIRES: referenced. Release a sequence's last block first, so that prefixes stay longest.
  void Release(int32_t block);

  // The published block that follows `parent` (a serial) and holds `tokens`, whose HashBlock is
  // `hash`; kNoBlock if there is none. Does not reference it.
  int32_t Find(uint64_t parent, uint64_t hash, std::span<const int32_t> tokens) const;
  uint64_t serial(int32_t block) const { return entries_[block].serial; }
  // Publishes a referenced, full, computed block. When an equal one is published already, `block`
  // stays as it is. Returns the serial that its successor must name.
  // REQUIRES: tokens.size() == block_tokens().
  uint64_t Publish(int32_t block, uint64_t parent, uint64_t hash, std::span<const int32_t> tokens);
  // Takes the block out of the prefix cache if it is in it. Its references stay.
  void Unpublish(int32_t block);
  // Empties the prefix cache.
  void UnpublishAll();

 private:
  struct Entry {
    int32_t references = 0;
    bool published = false;
    uint64_t serial = 0;
    uint64_t parent = 0;
    uint64_t hash = 0;
    int32_t next_in_bucket = kNoBlock;
    // The list of free blocks: the next to allocate at its head.
    int32_t previous_free = kNoBlock;
    int32_t next_free = kNoBlock;
  };

  std::span<const int32_t> TokensOf(int32_t block) const;
  int32_t& BucketOf(uint64_t hash) { return buckets_[hash & (buckets_.size() - 1)]; }
  void PushFreeFront(int32_t block);
  void PushFreeBack(int32_t block);
  void RemoveFree(int32_t block);

  int32_t blocks_;
  int32_t block_tokens_;
  int32_t free_ = 0;
  int32_t free_head_ = kNoBlock;
  int32_t free_tail_ = kNoBlock;
  uint64_t next_serial_ = kRootSerial + 1;
  std::vector<Entry> entries_;
  std::vector<int32_t> buckets_;  // a power of two of list heads
  std::vector<int32_t> tokens_;   // [blocks, block_tokens] of published blocks
};

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_BLOCK_MANAGER_H_
