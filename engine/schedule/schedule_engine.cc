#include "engine/schedule/schedule_engine.h"

#include <utility>

namespace mneme::schedule {
namespace {

class ScheduledGeneration : public Generation {
 public:
  explicit ScheduledGeneration(std::shared_ptr<Request> request) : request_(std::move(request)) {}
  ~ScheduledGeneration() override {
    request_->gate.Close();
    if (!request_->finished.load(std::memory_order_acquire)) Cancel();
  }

  bool Pop(OutputEvent* event) override {
    EventRing& ring = request_->ring;
    const bool popped = ring.Pop(event);
    // Sequentially consistent with Request::Pause: either the schedule sees the room, or this sees
    // that it waits. Half the ring, so that a slow reader is not woken for every event.
    if (request_->paused.load(std::memory_order_seq_cst) &&
        ring.reader_room() >= ring.capacity() / 2) {
      request_->paused.store(false, std::memory_order_seq_cst);
      request_->doorbell->Ring();
    }
    return popped;
  }
  bool done() const override {
    return request_->finished.load(std::memory_order_acquire) && request_->ring.drained();
  }
  absl::Status status() const override { return request_->status; }
  RequestUsage usage() const override { return request_->usage; }
  void Cancel() override {
    request_->cancel.store(true, std::memory_order_release);
    request_->doorbell->Ring();
  }

 private:
  const std::shared_ptr<Request> request_;
};

}  // namespace

ScheduleEngine::ScheduleEngine(runtime::Executor* executor, const loader::ModelDescription& model,
                               const loader::Tokenizer* tokenizer, TextStreamFactory streams,
                               const ScheduleOptions& options)
    : model_(model),
      tokenizer_(tokenizer),
      streams_(std::move(streams)),
      limits_(MakeServingLimits(model, executor->limits(), static_cast<bool>(streams_))),
      block_tokens_(executor->limits().kv_block_tokens),
      loop_(executor, model, options) {}

absl::StatusOr<std::unique_ptr<Generation>> ScheduleEngine::Generate(GenerateRequest request,
                                                                     EventListener* listener) {
  absl::StatusOr<ResolvedRequest> resolved = Resolve(std::move(request), limits_);
  if (!resolved.ok()) return resolved.status();
  auto queued = std::make_shared<Request>(std::move(*resolved), block_tokens_, streams_, listener,
                                          loop_.doorbell());
  // Made first, so that the listener is let go of if the queue refuses.
  auto generation = std::make_unique<ScheduledGeneration>(queued);
  if (absl::Status s = loop_.Enqueue(std::move(queued)); !s.ok()) return s;
  return generation;
}

}  // namespace mneme::schedule
