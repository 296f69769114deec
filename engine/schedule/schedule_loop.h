// The schedule's thread: takes requests in, composes steps, has them executed, draws tokens, writes
// events.
//
// One turn of the loop, for a step that runs: wait for it; take in what arrived and was cancelled;
// draw its tokens; compose and submit the next step; then, while that one runs, write the events of
// the first, account for its traffic and tell the readers. So between two steps stands only what
// the second one needs.
#ifndef MNEME_ENGINE_SCHEDULE_SCHEDULE_LOOP_H_
#define MNEME_ENGINE_SCHEDULE_SCHEDULE_LOOP_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/engine.h"
#include "engine/runtime/executor.h"
#include "engine/schedule/engine_counters.h"
#include "engine/schedule/event_writer.h"
#include "engine/schedule/health_watch.h"
#include "engine/schedule/notifier.h"
#include "engine/schedule/request.h"
#include "engine/schedule/scheduler.h"
#include "engine/schedule/step_settler.h"
#include "loader/model/model_description.h"

namespace mneme::schedule {

class ScheduleLoop {
 public:
  // Starts the thread. executor outlives this.
  ScheduleLoop(runtime::Executor* executor, const loader::ModelDescription& model,
               const ScheduleOptions& options);
  // Cancels everything, waits for the step under way, delivers the last events.
  ~ScheduleLoop();
  ScheduleLoop(const ScheduleLoop&) = delete;
  ScheduleLoop& operator=(const ScheduleLoop&) = delete;

  // Queues a request. RESOURCE_EXHAUSTED when max_waiting requests wait; UNAVAILABLE after Drain()
  // and while the executor is not ready.
  // Any thread.
  absl::Status Enqueue(std::shared_ptr<Request> request);
  // Any thread.
  void Drain();
  // Tells the watcher now and after every change whether requests are taken; any thread. Never
  // called any more once this has returned with an empty one.
  void WatchHealth(std::function<void(bool)> watcher) { health_.Watch(std::move(watcher)); }
  EngineStats stats() const { return counters_.Load(); }
  // Ring it after setting a request's `cancel` or clearing its `paused`.
  const std::shared_ptr<Doorbell>& doorbell() const { return doorbell_; }

 private:
  void Loop();
  // Between steps, with none under way: false when the thread is to end.
  bool Idle();
  void FinishStep();
  // Takes in what arrived and ends what was cancelled; whether everything is to end.
  bool TakeChanges();
  void TakeArrivals();
  void EndCancelled(bool all);
  // Composes the next step and submits it, if there is anything to compute.
  void ComposeAndSubmit();
  void Settle(const runtime::StepResult& result);
  void Distrust(Request* request);
  // When the executor has lost the KV cache, whatever had a part of it ends.
  void CheckKv();
  void FailStep(const absl::Status& status);
  void EndSiblings(Choice* leader);
  void WriteStep(const runtime::StepResult& result);
  void AttributeTraffic(const runtime::StepResult& result);
  // Cancels or fails a request: all its choices stop now, their ends are written by WriteEnds.
  void End(Request* request, FinishReason reason, const absl::Status& status);
  // Writes the ends of requests that were cancelled or failed, and echoed prompts.
  void WriteEnds();
  void WriteEnd(Choice* choice);
  void Finalize(Request* request);
  void StartEchoes(Request* request);
  void Notify(Request* request);
  void Observe(const runtime::StepResult& result);
  void PublishStats();

  runtime::Executor* const executor_;
  const ScheduleOptions options_;
  HealthWatch health_;
  const runtime::StepLimits limits_;
  const size_t most_live_;
  const std::shared_ptr<Doorbell> doorbell_ = std::make_shared<Doorbell>();
  Scheduler scheduler_;
  StepSettler settler_;
  EventWriter writer_;
  EngineStats stats_;
  EngineCounters counters_;

  // Between the callers and the thread.
  std::mutex mutex_;
  std::vector<std::shared_ptr<Request>> arrivals_;
  bool draining_ = false;
  std::atomic<bool> has_arrivals_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<int64_t> live_count_{0};        // requests not finished, arrivals included
  std::atomic<int64_t> running_requests_{0};  // of those, the ones with a running choice

  // The thread's own.
  std::vector<std::shared_ptr<Request>> taken_;
  std::vector<std::shared_ptr<Request>> live_;
  std::vector<Request*> ending_;
  // A finished request is kept until the step after, whose spans may still name it, is through.
  std::vector<std::shared_ptr<Request>> retired_;
  std::vector<std::shared_ptr<Request>> retired_before_;
  std::vector<ScheduledSpan> spans_;       // of the step that was waited for
  std::vector<ScheduledSpan> next_spans_;  // of the step submitted last
  std::vector<std::string_view> observed_ids_;
  runtime::Step* next_step_ = nullptr;  // given by the executor, not submitted
  bool under_way_ = false;              // a step is submitted and not waited for
  uint64_t next_ticket_ = 0;
  uint32_t seen_rings_ = 0;
  uint64_t generation_ = 0;  // of the executor, that the KV cache's contents are of

  Notifier notifier_;
  std::thread thread_;
};

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_SCHEDULE_LOOP_H_
