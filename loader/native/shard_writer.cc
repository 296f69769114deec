#include "loader/native/shard_writer.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/device/buffer.h"
#include "loader/native/checksum.h"

namespace mneme::loader {
namespace {

// Large beside a system call and the pages at its ends, small beside any memory.
constexpr int64_t kPieceBytes = int64_t{16} << 20;
// One is read into, one written, one waits.
constexpr int kPieces = 3;

// Some rows of a tensor.
struct Piece {
  kernels::Buffer buffer;
  int64_t offset = 0;  // in the file
  int64_t bytes = 0;
  bool last = false;  // of its tensor
};

// Pieces on their way from the reader to the writer, and the empty ones back.
class PieceExchange {
 public:
  absl::Status Allocate(int64_t bytes) {
    for (int i = 0; i < kPieces; ++i) {
      absl::StatusOr<kernels::Buffer> buffer =
          kernels::Buffer::Allocate(bytes, kernels::Pages::kNormal);
      if (!buffer.ok()) return buffer.status();
      empty_.push_back(Piece{.buffer = *std::move(buffer)});
    }
    return absl::OkStatus();
  }
  // The reader's; nullopt when the writer has given up.
  std::optional<Piece> TakeEmpty() { return Take(&empty_); }
  void PutFull(Piece piece) { Put(&full_, std::move(piece)); }
  // The writer's; nullopt when the reader has come to its end.
  std::optional<Piece> TakeFull() { return Take(&full_); }
  void PutEmpty(Piece piece) { Put(&empty_, std::move(piece)); }
  // By either: what is under way is still taken from full.
  void End() {
    const std::lock_guard<std::mutex> lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }

 private:
  std::optional<Piece> Take(std::deque<Piece>* from) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return !from->empty() || ended_; });
    if (from->empty() || (ended_ && from == &empty_)) return std::nullopt;
    Piece piece = std::move(from->front());
    from->pop_front();
    return piece;
  }
  void Put(std::deque<Piece>* to, Piece piece) {
    const std::lock_guard<std::mutex> lock(mutex_);
    to->push_back(std::move(piece));
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Piece> empty_;
  std::deque<Piece> full_;
  bool ended_ = false;
};

int64_t LargestRow(const ShardPlan& plan, const PlannedShard& shard) {
  int64_t largest = 1;
  for (const ShardPiece& piece : shard.pieces) {
    if (piece.weight < 0) continue;
    largest = std::max(largest, plan.weights[static_cast<size_t>(piece.weight)].row_bytes());
  }
  return largest;
}

// Reads all of the shard's tensors, until the writer gives up.
void ReadPieces(const ShardPlan& plan, const PlannedShard& shard, int64_t buffer_bytes,
                WeightRows* rows, PieceExchange* exchange) {
  for (const ShardPiece& tensor : shard.pieces) {
    if (tensor.weight < 0) continue;
    const auto w = static_cast<size_t>(tensor.weight);
    const ManifestWeight& weight = plan.weights[w];
    const int64_t all = weight.tensor_rows(tensor.tensor);
    const int64_t step = buffer_bytes / weight.row_bytes();
    for (int64_t first = 0; first < all; first += step) {
      std::optional<Piece> piece = exchange->TakeEmpty();
      if (!piece.has_value()) return;
      const int64_t count = std::min(step, all - first);
      rows->Read(plan.ids[w], weight, tensor.tensor, first, count, piece->buffer.data());
      piece->offset = tensor.offset + first * weight.row_bytes();
      piece->bytes = count * weight.row_bytes();
      piece->last = first + count == all;
      exchange->PutFull(*std::move(piece));
    }
  }
  exchange->End();
}

absl::StatusOr<ShardChecksums> WritePieces(PieceExchange* exchange, OutputFile* file,
                                           const ShardWriterHooks& hooks) {
  ShardChecksums checksums;
  TensorChecksums tensor;
  while (std::optional<Piece> piece = exchange->TakeFull()) {
    if (hooks.stop != nullptr && hooks.stop->load()) return absl::CancelledError("stopped");
    const std::span<const uint8_t> bytes(piece->buffer.data(), static_cast<size_t>(piece->bytes));
    if (absl::Status status = file->Write(piece->offset, bytes); !status.ok()) return status;
    // So that the sync at the end finds little to do, and other files keep their pages.
    file->StartSync(piece->offset, piece->bytes);
    tensor.Add(bytes);
    if (piece->last) checksums.push_back(tensor.Take());
    if (hooks.on_bytes) hooks.on_bytes(piece->bytes);
    exchange->PutEmpty(*std::move(piece));
  }
  return checksums;
}

}  // namespace

absl::StatusOr<ShardChecksums> WriteShard(const ShardPlan& plan, int64_t shard, WeightRows* rows,
                                          OutputFile* file, const ShardWriterHooks& hooks) {
  const PlannedShard& planned = plan.shards[static_cast<size_t>(shard)];
  const auto* header = reinterpret_cast<const uint8_t*>(planned.header.data());
  if (absl::Status status = file->Write(0, {header, planned.header.size()}); !status.ok()) {
    return status;
  }
  const int64_t bytes = std::max(kPieceBytes, LargestRow(plan, planned));
  PieceExchange exchange;
  if (absl::Status status = exchange.Allocate(bytes); !status.ok()) return status;
  std::thread reader(ReadPieces, std::cref(plan), std::cref(planned), bytes, rows, &exchange);
  absl::StatusOr<ShardChecksums> checksums = WritePieces(&exchange, file, hooks);
  exchange.End();
  reader.join();
  return checksums;
}

}  // namespace mneme::loader
