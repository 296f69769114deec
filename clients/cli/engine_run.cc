#include "clients/cli/engine_run.h"

#include <algorithm>
#include <charconv>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mneme::cli {
namespace {

// Far below the engine's queue, far above what runs at a time.
constexpr size_t kUnderWay = 128;

class Waiter : public EventListener {
 public:
  void OnEvents() override {
    const std::lock_guard lock(mutex_);
    events_ = true;
    changed_.notify_one();
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return events_; });
    events_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool events_ = false;
};

struct UnderWay {
  size_t index = 0;
  std::unique_ptr<Generation> generation;
};

void TakeEvents(Generation* generation, std::vector<int32_t>* tokens) {
  OutputEvent event;
  while (generation->Pop(&event)) {
    if (event.kind == OutputEvent::Kind::kToken) tokens->push_back(event.token_id);
  }
}

}  // namespace

absl::StatusOr<std::vector<std::vector<int32_t>>> RunOnEngine(
    Engine* engine, std::vector<GenerateRequest> requests) {
  std::vector<std::vector<int32_t>> outputs(requests.size());
  Waiter waiter;
  std::vector<UnderWay> under_way;
  size_t next = 0;
  while (next < requests.size() || !under_way.empty()) {
    while (next < requests.size() && under_way.size() < kUnderWay) {
      absl::StatusOr<std::unique_ptr<Generation>> generation =
          engine->Generate(std::move(requests[next]), &waiter);
      if (!generation.ok()) {
        return absl::Status(generation.status().code(),
                            absl::StrCat("sequence ", next, ": ", generation.status().message()));
      }
      under_way.push_back({next, *std::move(generation)});
      ++next;
    }
    waiter.Wait();
    for (UnderWay& one : under_way) {
      TakeEvents(one.generation.get(), &outputs[one.index]);
      if (one.generation->done() && !one.generation->status().ok()) {
        return one.generation->status();
      }
    }
    std::erase_if(under_way, [](const UnderWay& one) { return one.generation->done(); });
  }
  return outputs;
}

void TokenObserver::OnStep(const runtime::Step& step, const runtime::StepResult& result,
                           const runtime::Executor& executor,
                           std::span<const std::string_view> request_ids) {
  size_t next_logit_row = 0;
  for (size_t s = 0; s < step.spans().size(); ++s) {
    const runtime::StepSpan& span = step.spans()[s];
    std::string_view id = request_ids[s];
    int64_t request = -1;
    if (id.starts_with(prefix_)) {
      id.remove_prefix(prefix_.size());
      std::from_chars(id.data(), id.data() + id.size(), request);
    }
    for (int32_t i = 0; i < span.rows; ++i) {
      Token token{.request = request,
                  .position = span.first_position + i,
                  .row = span.first_row + i,
                  .logits = {}};
      // Logit rows ascend, as the spans' rows do.
      if (next_logit_row < step.logit_rows().size() &&
          step.logit_rows()[next_logit_row] == token.row) {
        const float* row = result.logits.row(static_cast<int64_t>(next_logit_row));
        token.logits = {row, static_cast<size_t>(result.logits.cols)};
        ++next_logit_row;
      }
      if (request >= 0) OnToken(token, executor);
    }
  }
}

}  // namespace mneme::cli
