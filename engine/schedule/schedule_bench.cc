// The schedule's own cost: how long it keeps the executor waiting between two steps, at the median
// and the 99th percentile. The executor computes nothing; its steps last as long as told (the demo
// model's decode step takes about 500 us), so the schedule's thread sleeps as it does when it
// serves, and a reader on the notifier's thread takes the events.
//
//   schedule_bench [vocabulary] [step microseconds] [tokens]
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "engine/schedule/schedule_engine.h"

namespace mneme::schedule {
namespace {

using std::chrono::steady_clock;

double Microseconds(steady_clock::duration d) {
  return std::chrono::duration<double, std::micro>(d).count();
}

// Steps of a fixed length whose logits are random and the same for every step. Measures the gap
// between Wait()'s return and the next Submit().
class TimedExecutor : public runtime::Executor {
 public:
  TimedExecutor(int32_t vocab_size, std::chrono::microseconds step_time,
                const runtime::StepLimits& limits)
      : vocab_size_(vocab_size),
        step_time_(step_time),
        limits_(limits),
        steps_{runtime::Step(limits), runtime::Step(limits)},
        logits_(static_cast<size_t>(limits.max_logit_rows) * static_cast<size_t>(vocab_size)) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0.0f, 3.0f);
    for (float& x : logits_) x = normal(random);
    gaps_.reserve(1 << 20);
  }

  const runtime::StepLimits& limits() const override { return limits_; }
  runtime::Step* NextStep() override {
    runtime::Step* step = &steps_[submitted_ % 2];
    step->Clear();
    return step;
  }
  void Submit() override {
    const steady_clock::time_point now = steady_clock::now();
    if (returned_ != steady_clock::time_point{}) gaps_.push_back(Microseconds(now - returned_));
    ready_[submitted_++ % 2] = now + step_time_;
  }
  const runtime::StepResult& Wait() override {
    const size_t slot = released_ % 2;
    // The last 60 us are spun away, as an executor does; a sleep alone ends late.
    std::this_thread::sleep_until(ready_[slot] - std::chrono::microseconds(60));
    while (steady_clock::now() < ready_[slot]) {
    }
    result_.logits = kernels::MakeMatrix<const float>(
        logits_.data(), static_cast<int64_t>(steps_[slot].logit_rows().size()), vocab_size_);
    returned_ = steady_clock::now();
    return result_;
  }
  void Release() override { ++released_; }
  const runtime::Step& finished_step() const override { return steps_[released_ % 2]; }
  kernels::TensorView Trace(std::string_view) const override { return {}; }

  std::vector<double>* gaps() { return &gaps_; }
  steady_clock::time_point returned() const { return returned_; }

 private:
  const int32_t vocab_size_;
  const std::chrono::microseconds step_time_;
  const runtime::StepLimits limits_;
  std::array<runtime::Step, 2> steps_;
  std::array<steady_clock::time_point, 2> ready_;
  std::vector<float> logits_;
  runtime::StepResult result_;
  std::vector<double> gaps_;
  uint64_t submitted_ = 0;
  uint64_t released_ = 0;
  steady_clock::time_point returned_{};
};

class DrainingListener : public EventListener {
 public:
  void OnEvents() override {
    Generation* reader = generation.load();
    if (reader == nullptr) return;
    OutputEvent event;
    while (reader->Pop(&event)) {
    }
  }
  std::atomic<Generation*> generation{nullptr};
};

struct Case {
  const char* name;
  int streams;
  SamplingParams sampling;
  bool logprobs;
};

void Run(const Case& c, int32_t vocab_size, std::chrono::microseconds step_time, int32_t tokens) {
  runtime::StepLimits limits;
  limits.max_tokens = 512;
  limits.max_sequences = 64;
  limits.max_logit_rows = 64;
  limits.max_positions = 8192;
  limits.kv_blocks = 64 * 512;
  limits.kv_block_tokens = 16;
  TimedExecutor executor(vocab_size, step_time, limits);
  loader::ModelDescription model;
  model.vocab_size = model.embedding_size = vocab_size;
  model.max_sequence_length = limits.max_positions;
  std::vector<DrainingListener> listeners(static_cast<size_t>(c.streams));
  {
    ScheduleEngine engine(&executor, model, nullptr, {}, {});
    std::vector<std::unique_ptr<Generation>> generations;
    for (int i = 0; i < c.streams; ++i) {
      GenerateRequest request;
      request.prompt.assign(8, 1 + i);
      request.max_tokens = tokens;
      request.ignore_eos = true;
      request.sampling = c.sampling;
      if (c.logprobs) request.logprobs = 5;
      auto generation = engine.Generate(std::move(request), &listeners[static_cast<size_t>(i)]);
      if (!generation.ok()) std::abort();
      listeners[static_cast<size_t>(i)].generation.store(generation->get());
      generations.push_back(std::move(*generation));
    }
    for (auto& generation : generations) {
      while (!generation->done()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  std::vector<double>& gaps = *executor.gaps();
  std::ranges::sort(gaps);
  std::printf("%-28s %3d streams: %6.1f us between steps at the median, %6.1f us at p99\n", c.name,
              c.streams, gaps[gaps.size() / 2], gaps[gaps.size() * 99 / 100]);
}

}  // namespace
}  // namespace mneme::schedule

int main(int argc, char** argv) {
  using mneme::SamplingParams;
  const int32_t vocab_size = argc > 1 ? std::atoi(argv[1]) : 4096;
  const std::chrono::microseconds step_time(argc > 2 ? std::atoi(argv[2]) : 500);
  const int32_t tokens = argc > 3 ? std::atoi(argv[3]) : 2000;
  SamplingParams greedy;
  greedy.temperature = 0;
  SamplingParams plain;
  SamplingParams filtered;
  filtered.top_p = 0.9f;
  SamplingParams all;
  all.top_p = 0.9f;
  all.top_k = 50;
  all.min_p = 0.01f;
  all.repetition_penalty = 1.1f;
  std::printf("vocabulary %d, steps of %d us\n", vocab_size, static_cast<int>(step_time.count()));
  for (const auto& c : {mneme::schedule::Case{"greedy", 1, greedy, false},
                        {"temperature 1", 1, plain, false},
                        {"top-p 0.9", 1, filtered, false},
                        {"top-k, top-p, min-p, penalty", 1, all, false},
                        {"greedy, 5 logprobs", 1, greedy, true},
                        {"greedy", 8, greedy, false},
                        {"top-p 0.9", 8, filtered, false},
                        {"greedy", 32, greedy, false},
                        {"top-p 0.9", 32, filtered, false}}) {
    mneme::schedule::Run(c, vocab_size, step_time, tokens);
  }
  return 0;
}
