#include "server/test_engine.h"

#include <algorithm>
#include <deque>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"

namespace mneme::server {

// All state is guarded by the engine's mutex.
class TestEngine::TestGeneration final : public Generation {
 public:
  TestGeneration(TestEngine* engine, GenerateRequest request, EventListener* listener)
      : engine_(engine), request_(std::move(request)), listener_(listener) {
    made_.resize(static_cast<size_t>(request_.n), 0);
    finished_.resize(static_cast<size_t>(request_.n), false);
  }

  ~TestGeneration() override {
    std::unique_lock lock(engine_->mutex_);
    std::erase(engine_->generations_, this);
    engine_->changed_.wait(lock, [this] { return !notifying_; });
  }

  bool Pop(OutputEvent* event) override {
    const std::lock_guard lock(engine_->mutex_);
    if (ring_.empty()) return false;
    popped_ = std::move(ring_.front());
    ring_.pop_front();
    *event = popped_.event;
    event->text = popped_.text;
    event->top = popped_.top;
    return true;
  }

  bool done() const override {
    const std::lock_guard lock(engine_->mutex_);
    return ring_.empty() && AllFinished();
  }

  absl::Status status() const override { return status_; }

  RequestUsage usage() const override {
    const std::lock_guard lock(engine_->mutex_);
    RequestUsage usage;
    usage.prompt_tokens = static_cast<int32_t>(request_.prompt.size());
    for (const int32_t made : made_) usage.output_tokens += made;
    usage.queue_seconds = 0.25;
    usage.prefill_seconds = 0.5;
    usage.decode_seconds = 0.75;
    usage.read_bytes[static_cast<size_t>(kernels::TrafficClass::kValueRows)] = 1024;
    usage.seed = request_.sampling.seed.value_or(7);
    return usage;
  }

  void Cancel() override {
    const std::lock_guard lock(engine_->mutex_);
    cancelled_ = true;
    engine_->changed_.notify_all();
  }

  bool AllFinished() const {
    return std::all_of(finished_.begin(), finished_.end(), [](bool f) { return f; });
  }

  struct OwnedEvent {
    OutputEvent event;
    std::string text;
    std::vector<TokenLogprob> top;
  };

  TestEngine* const engine_;
  const GenerateRequest request_;
  EventListener* const listener_;
  std::deque<OwnedEvent> ring_;
  OwnedEvent popped_;
  std::vector<int32_t> made_;
  std::vector<bool> finished_;
  absl::Status status_;
  bool cancelled_ = false;
  bool notifying_ = false;
};

TestEngine::TestEngine(const TestEngineOptions& options) : options_(options) {
  model_.architecture = "test";
  model_.vocab_size = 1000;
  model_.embedding_size = 1000;
  model_.max_sequence_length = options.context;
  model_.eos_token_ids = {0};
  thread_ = std::thread([this] { Loop(); });
}

TestEngine::~TestEngine() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

absl::StatusOr<std::unique_ptr<Generation>> TestEngine::Generate(GenerateRequest request,
                                                                 EventListener* listener) {
  if (request.n < 1 || request.n > 64) {
    return absl::InvalidArgumentError(absl::StrCat("n: ", request.n, " is not in [1, 64]"));
  }
  const std::lock_guard lock(mutex_);
  if (draining_) return absl::UnavailableError("the engine is draining");
  if (generations_.size() >= static_cast<size_t>(options_.max_waiting)) {
    return absl::ResourceExhaustedError(
        absl::StrCat("queue: ", options_.max_waiting, " requests wait, the limit"));
  }
  last_request_ = request;
  ++requests_;
  auto generation = std::make_unique<TestGeneration>(this, std::move(request), listener);
  generations_.push_back(generation.get());
  changed_.notify_all();
  return std::unique_ptr<Generation>(std::move(generation));
}

EngineStats TestEngine::stats() const {
  const std::lock_guard lock(mutex_);
  EngineStats stats;
  stats.requests_total = requests_;
  stats.output_tokens_total = tokens_;
  stats.traffic_total.Read(kernels::TrafficClass::kKv, 4096);
  return stats;
}

void TestEngine::Drain() {
  const std::lock_guard lock(mutex_);
  draining_ = true;
}

void TestEngine::WatchHealth(std::function<void(bool)> watcher) {
  const std::lock_guard lock(mutex_);
  watcher_ = std::move(watcher);
  if (watcher_) watcher_(ready_);
}

void TestEngine::SetReady(bool ready) {
  const std::lock_guard lock(mutex_);
  ready_ = ready;
  if (watcher_) watcher_(ready_);
}

GenerateRequest TestEngine::last_request() const {
  const std::lock_guard lock(mutex_);
  return last_request_;
}

int32_t TestEngine::live_generations() const {
  const std::lock_guard lock(mutex_);
  return static_cast<int32_t>(generations_.size());
}

int64_t TestEngine::tokens_made() const {
  const std::lock_guard lock(mutex_);
  return tokens_;
}

void TestEngine::Loop() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    // A copy: generations come and go while their listeners are being told.
    const std::vector<TestGeneration*> round = generations_;
    for (TestGeneration* generation : round) {
      if (std::find(generations_.begin(), generations_.end(), generation) == generations_.end()) {
        continue;
      }
      const size_t before = generation->ring_.size();
      Produce(generation);
      if (generation->ring_.size() == before) continue;
      generation->notifying_ = true;
      lock.unlock();
      generation->listener_->OnEvents();
      lock.lock();
      generation->notifying_ = false;
      changed_.notify_all();
    }
    changed_.wait_for(lock, options_.token_period);
  }
}

void TestEngine::Produce(TestGeneration* generation) {
  const GenerateRequest& request = generation->request_;
  const int32_t max_tokens = request.max_tokens.value_or(options_.context);
  const bool poisoned =
      std::find(request.prompt.begin(), request.prompt.end(), kPoisonToken) != request.prompt.end();
  for (int32_t choice = 0; choice < request.n; ++choice) {
    const size_t c = static_cast<size_t>(choice);
    if (generation->finished_[c]) continue;
    TestGeneration::OwnedEvent out;
    out.event.choice = choice;
    FinishReason finish = FinishReason::kNone;
    if (generation->cancelled_) finish = FinishReason::kCancelled;
    if (poisoned && generation->made_[c] >= 2) {
      finish = FinishReason::kError;
      generation->status_ = absl::InternalError("step 3 failed: poisoned");
    }
    if (generation->made_[c] >= max_tokens) finish = FinishReason::kLength;
    if (finish != FinishReason::kNone) {
      out.event.kind = OutputEvent::Kind::kFinish;
      out.event.finish = finish;
      generation->finished_[c] = true;
    } else if (generation->ring_.size() < options_.ring_capacity) {
      const int32_t id =
          request.prompt[static_cast<size_t>(generation->made_[c]++) % request.prompt.size()];
      ++tokens_;
      out.event.token_id = id;
      if (request.text) out.text = absl::StrCat(id, " ", std::string(options_.padding, '.'));
      if (request.logprobs.has_value()) {
        out.event.has_logprob = true;
        out.event.logprob = -0.5f;
        for (int32_t i = 0; i < *request.logprobs; ++i) out.top.push_back({i, -1.0f - i});
      }
    } else {
      continue;
    }
    generation->ring_.push_back(std::move(out));
  }
}

}  // namespace mneme::server
