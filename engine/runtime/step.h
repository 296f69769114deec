// A Step: what one pass of the model computes, plain integers only, so that it can be sent to
// another process (step_message.h). Spans of many sequences stand side by side: decode tokens (one
// row) and prefill chunks (many rows).
//
// A sequence is a number in [0, max_sequences) that the schedule gives to what it runs; every rank
// keeps a block table per sequence, which the step's block changes update before it runs.
#ifndef MNEME_ENGINE_RUNTIME_STEP_H_
#define MNEME_ENGINE_RUNTIME_STEP_H_

#include <cstdint>
#include <span>
#include <vector>

namespace mneme::runtime {

// Capacities of a plan. Fixed for an executor's life.
struct StepLimits {
  int32_t max_tokens = 0;       // rows of a step
  int32_t max_sequences = 0;    // spans of a step, and sequences known at a time
  int32_t max_logit_rows = 0;   // rows of a step whose logits are computed
  int32_t max_positions = 0;    // tokens of one sequence
  int32_t kv_blocks = 0;        // blocks of the KV cache
  int32_t kv_block_tokens = 0;  // positions of a block; a multiple of 16

  int32_t max_blocks_per_sequence() const {
    return (max_positions + kv_block_tokens - 1) / kv_block_tokens;
  }
  // Every sequence may get all its blocks in one step.
  int32_t max_block_changes() const { return max_sequences * max_blocks_per_sequence(); }
};

// Rows [first_row, first_row + rows) of the step are tokens of `sequence` at positions
// first_position and following. Spans lie one after the other and cover all rows.
struct StepSpan {
  int32_t sequence;
  int32_t first_row;
  int32_t rows;
  int32_t first_position;
};

// Position block `index` (positions index * kv_block_tokens and following) of `sequence` is now KV
// block `block`.
struct BlockChange {
  int32_t sequence;
  int32_t index;
  int32_t block;
};

// One step in memory of fixed capacity. Reused: Clear() and fill again; no allocation.
class Step {
 public:
  explicit Step(const StepLimits& limits);

  void Clear();
  // Appends a span of the given tokens. REQUIRES: room for them (see StepLimits).
  void AddSpan(int32_t sequence, int32_t first_position, std::span<const int32_t> token_ids);
  // Appends one token to the span added last, at its next position. REQUIRES: there is one, room.
  void ExtendSpan(int32_t token_id);
  // Asks for the logits of a row of the step. Rows ascend. Result row i belongs to logit_rows()[i].
  void AddLogitRow(int32_t row);
  void AddBlockChange(int32_t sequence, int32_t index, int32_t block);

  uint64_t number = 0;  // set by the executor: 1, 2, ...
  // Of the executor's state that the step was made for: it fails in another one, whose KV cache
  // does not hold what it counts on.
  static constexpr uint64_t kAnyGeneration = ~uint64_t{0};
  uint64_t generation = kAnyGeneration;

  int32_t tokens() const { return static_cast<int32_t>(token_ids_.size()); }
  std::span<const int32_t> token_ids() const { return token_ids_; }
  std::span<const int32_t> positions() const { return positions_; }
  std::span<const StepSpan> spans() const { return spans_; }
  std::span<const int32_t> logit_rows() const { return logit_rows_; }
  std::span<const BlockChange> block_changes() const { return block_changes_; }
  bool empty() const { return token_ids_.empty(); }

 private:
  // Vectors with their capacity reserved once; all contents are plain integers.
  std::vector<int32_t> token_ids_;
  std::vector<int32_t> positions_;
  std::vector<StepSpan> spans_;
  std::vector<int32_t> logit_rows_;
  std::vector<BlockChange> block_changes_;
};

}  // namespace mneme::runtime

#endif  // MNEME_ENGINE_RUNTIME_STEP_H_
