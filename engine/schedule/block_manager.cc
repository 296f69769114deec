// Invariants:
//   1. A block is in the free list if and only if references == 0; free_ is the list's length.
//   2. A block is in the bucket of its hash if and only if it is published.
//   3. No two published blocks have the same (parent, tokens).
//   4. In the free list unpublished blocks stand before published ones as long as nobody calls
//      Unpublish on a free block, and published ones stand in the order of their release.
#include "engine/schedule/block_manager.h"

#include <algorithm>
#include <bit>
#include <cassert>

namespace mneme::schedule {

uint64_t HashBlock(uint64_t parent, std::span<const int32_t> tokens) {
  // Each step is the finalizer of SplitMix64, a bijection of 64 bits.
  uint64_t h = parent ^ 0x9E3779B97F4A7C15u;
  for (int32_t token : tokens) {
    h ^= static_cast<uint32_t>(token);
    h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9u;
    h = (h ^ (h >> 27)) * 0x94D049BB133111EBu;
    h ^= h >> 31;
  }
  return h;
}

BlockManager::BlockManager(int32_t blocks, int32_t block_tokens)
    : blocks_(blocks),
      block_tokens_(block_tokens),
      entries_(static_cast<size_t>(blocks)),
      buckets_(std::bit_ceil(static_cast<size_t>(std::max(blocks, 1)) * 2), kNoBlock),
      tokens_(static_cast<size_t>(blocks) * static_cast<size_t>(block_tokens)) {
  for (int32_t block = 0; block < blocks; ++block) PushFreeBack(block);
}

std::span<const int32_t> BlockManager::TokensOf(int32_t block) const {
  const size_t width = static_cast<size_t>(block_tokens_);
  return {tokens_.data() + static_cast<size_t>(block) * width, width};
}

int32_t BlockManager::Allocate() {
  const int32_t block = free_head_;
  if (block == kNoBlock) return kNoBlock;
  RemoveFree(block);
  Unpublish(block);
  entries_[block].references = 1;
  return block;
}

void BlockManager::AddReference(int32_t block) {
  if (entries_[block].references++ == 0) RemoveFree(block);
}

void BlockManager::Release(int32_t block) {
  Entry& entry = entries_[block];
  assert(entry.references > 0);
  if (--entry.references > 0) return;
  if (entry.published) {
    PushFreeBack(block);
  } else {
    PushFreeFront(block);
  }
}

int32_t BlockManager::Find(uint64_t parent, uint64_t hash, std::span<const int32_t> tokens) const {
  int32_t block = buckets_[hash & (buckets_.size() - 1)];
  for (; block != kNoBlock; block = entries_[block].next_in_bucket) {
    const Entry& entry = entries_[block];
    if (entry.hash == hash && entry.parent == parent &&
        std::ranges::equal(TokensOf(block), tokens)) {
      return block;
    }
  }
  return kNoBlock;
}

uint64_t BlockManager::Publish(int32_t block, uint64_t parent, uint64_t hash,
                               std::span<const int32_t> tokens) {
  Entry& entry = entries_[block];
  assert(entry.references > 0 && tokens.size() == static_cast<size_t>(block_tokens_));
  const int32_t known = Find(parent, hash, tokens);
  if (known != kNoBlock) return entries_[known].serial;
  if (entry.published) Unpublish(block);
  entry.published = true;
  entry.serial = next_serial_++;
  entry.parent = parent;
  entry.hash = hash;
  std::ranges::copy(
      tokens, tokens_.begin() + static_cast<size_t>(block) * static_cast<size_t>(block_tokens_));
  int32_t& bucket = BucketOf(hash);
  entry.next_in_bucket = bucket;
  bucket = block;
  return entry.serial;
}

void BlockManager::Unpublish(int32_t block) {
  Entry& entry = entries_[block];
  if (!entry.published) return;
  int32_t* link = &BucketOf(entry.hash);
  while (*link != block) link = &entries_[*link].next_in_bucket;
  *link = entry.next_in_bucket;
  entry.next_in_bucket = kNoBlock;
  entry.published = false;
}

void BlockManager::UnpublishAll() {
  for (int32_t block = 0; block < blocks_; ++block) Unpublish(block);
}

void BlockManager::PushFreeFront(int32_t block) {
  Entry& entry = entries_[block];
  entry.previous_free = kNoBlock;
  entry.next_free = free_head_;
  (free_head_ == kNoBlock ? free_tail_ : entries_[free_head_].previous_free) = block;
  free_head_ = block;
  ++free_;
}

void BlockManager::PushFreeBack(int32_t block) {
  Entry& entry = entries_[block];
  entry.previous_free = free_tail_;
  entry.next_free = kNoBlock;
  (free_tail_ == kNoBlock ? free_head_ : entries_[free_tail_].next_free) = block;
  free_tail_ = block;
  ++free_;
}

void BlockManager::RemoveFree(int32_t block) {
  Entry& entry = entries_[block];
  (entry.previous_free == kNoBlock ? free_head_ : entries_[entry.previous_free].next_free) =
      entry.next_free;
  (entry.next_free == kNoBlock ? free_tail_ : entries_[entry.next_free].previous_free) =
      entry.previous_free;
  entry.previous_free = kNoBlock;
  entry.next_free = kNoBlock;
  --free_;
}

}  // namespace mneme::schedule
