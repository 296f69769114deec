// The Engine over a ScheduleLoop: checks requests on the caller's thread and hands them in.
#ifndef MNEME_ENGINE_SCHEDULE_SCHEDULE_ENGINE_H_
#define MNEME_ENGINE_SCHEDULE_SCHEDULE_ENGINE_H_

#include <functional>
#include <memory>
#include <utility>

#include "engine/engine.h"
#include "engine/schedule/schedule_loop.h"
#include "engine/schedule/text_stream.h"
#include "engine/schedule/validation.h"

namespace mneme::schedule {

class ScheduleEngine : public Engine {
 public:
  // executor, model and tokenizer outlive this. tokenizer may be null, then so may streams.
  ScheduleEngine(runtime::Executor* executor, const loader::ModelDescription& model,
                 const loader::Tokenizer* tokenizer, TextStreamFactory streams,
                 const ScheduleOptions& options);

  absl::StatusOr<std::unique_ptr<Generation>> Generate(GenerateRequest request,
                                                       EventListener* listener) override;
  const loader::Tokenizer* tokenizer() const override { return tokenizer_; }
  const loader::ModelDescription& model() const override { return model_; }
  EngineStats stats() const override { return loop_.stats(); }
  void Drain() override { loop_.Drain(); }
  void WatchHealth(std::function<void(bool)> watcher) override {
    loop_.WatchHealth(std::move(watcher));
  }

 private:
  const loader::ModelDescription& model_;
  const loader::Tokenizer* const tokenizer_;
  const TextStreamFactory streams_;
  const ServingLimits limits_;
  const int32_t block_tokens_;
  ScheduleLoop loop_;
};

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_SCHEDULE_ENGINE_H_
