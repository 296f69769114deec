// An engine for tests of what stands above it: no model, a thread that makes tokens on a clock.
//
// Token i of a choice has the id prompt[i % prompt size] and the text "<id> ". The ring,
// cancelling, draining and the queue's limit behave as engine/engine.h says.
#ifndef MNEME_SERVER_TEST_ENGINE_H_
#define MNEME_SERVER_TEST_ENGINE_H_

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "engine/engine.h"

namespace mneme::server {

// A prompt that holds this id makes the engine fail the request after two tokens.
inline constexpr int32_t kPoisonToken = 666;

struct TestEngineOptions {
  std::chrono::microseconds token_period{200};
  size_t ring_capacity = 64;
  int32_t max_waiting = 1024;
  int32_t context = 4096;
  const loader::Tokenizer* tokenizer = nullptr;
  // More text per token: each is followed by so many dots.
  size_t padding = 0;
};

class TestEngine final : public Engine {
 public:
  explicit TestEngine(const TestEngineOptions& options);
  ~TestEngine() override;

  absl::StatusOr<std::unique_ptr<Generation>> Generate(GenerateRequest request,
                                                       EventListener* listener) override;
  const loader::Tokenizer* tokenizer() const override { return options_.tokenizer; }
  const loader::ModelDescription& model() const override { return model_; }
  EngineStats stats() const override;
  void Drain() override;
  void WatchHealth(std::function<void(bool)> watcher) override;
  // What the watcher is told.
  void SetReady(bool ready);

  // What tests look at.
  GenerateRequest last_request() const;
  int32_t live_generations() const;
  int64_t tokens_made() const;

 private:
  class TestGeneration;
  friend class TestGeneration;

  void Loop();
  void Produce(TestGeneration* generation);

  const TestEngineOptions options_;
  loader::ModelDescription model_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<TestGeneration*> generations_;
  GenerateRequest last_request_;
  int64_t requests_ = 0;
  int64_t tokens_ = 0;
  bool draining_ = false;
  bool stopping_ = false;
  bool ready_ = true;
  std::function<void(bool)> watcher_;
  std::thread thread_;
};

}  // namespace mneme::server

#endif  // MNEME_SERVER_TEST_ENGINE_H_
