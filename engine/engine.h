// The engine as the server sees it: requests in, events out. One thread of the engine's own owns
// the schedule; callers talk to it through this header only. Thread safe unless a method says
// otherwise.
#ifndef MNEME_ENGINE_ENGINE_H_
#define MNEME_ENGINE_ENGINE_H_

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/runtime/executor.h"
#include "kernels/traffic/traffic.h"
#include "loader/model/model_description.h"

namespace mneme::loader {
class Tokenizer;  // loader/tokenizer/tokenizer.h
}  // namespace mneme::loader

namespace mneme {

inline constexpr int kMaxLogprobs = 20;

// How the next token is chosen; names and meaning as in proto/mneme/v1/generation.proto.
struct SamplingParams {
  float temperature = 1;
  float top_p = 1;
  int32_t top_k = 0;
  float min_p = 0;
  float repetition_penalty = 1;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  std::vector<std::pair<int32_t, float>> logit_bias;
  std::optional<uint64_t> seed;
};

struct GenerateRequest {
  std::string id;
  std::vector<int32_t> prompt;  // at least one token
  SamplingParams sampling;
  std::optional<int32_t> max_tokens;  // nullopt: the default
  // What the context and the KV cache leave where they leave less, min_tokens where that is more.
  // nullopt: all that they leave.
  std::optional<int32_t> default_max_tokens;
  int32_t min_tokens = 0;
  std::vector<std::string> stop;
  std::vector<int32_t> stop_token_ids;
  bool ignore_eos = false;
  bool include_stop_str_in_output = false;
  std::optional<int32_t> logprobs;
  std::optional<int32_t> prompt_logprobs;
  int32_t n = 1;
  bool echo = false;
  bool skip_special_tokens = true;
  bool text = true;  // false: events carry token ids only
  // Logits of every prompt position, for StepObserver (evaluation).
  bool all_logits = false;
};

enum class FinishReason : uint8_t { kNone, kStop, kLength, kCancelled, kError };

struct TokenLogprob {
  int32_t token_id = -1;
  float logprob = 0;
};

// One thing that happened to a choice. Views are valid until the next Pop.
struct OutputEvent {
  enum class Kind : uint8_t {
    kToken,  // a token of the output (of the echoed prompt if `prompt`); its text may be held
             // back and come with a later event
    kPromptLogprob,  // a prompt token from the second on: token_id, logprob, top. All before the
                     // first kToken; choice is 0
    kFinish,  // the choice's end: finish, perhaps last text. A stop token is told here only; with
              // include_stop_str_in_output it is also a kToken and counts as output
  };
  Kind kind = Kind::kToken;
  bool prompt = false;  // kToken: of the prompt, because of echo
  int32_t choice = 0;
  int32_t token_id = -1;
  std::string_view text;
  bool has_logprob = false;
  float logprob = 0;
  std::span<const TokenLogprob> top;
  FinishReason finish = FinishReason::kNone;
  int32_t stop_token_id = -1;    // what stopped it: an id,
  std::string_view stop_string;  // or a string
};

struct RequestUsage {
  int32_t prompt_tokens = 0;
  int32_t cached_tokens = 0;
  int32_t output_tokens = 0;
  double queue_seconds = 0;
  double prefill_seconds = 0;
  double decode_seconds = 0;
  // Shares of the steps' traffic, in bytes by class.
  std::array<double, kernels::kTrafficClasses> read_bytes{};
  std::array<double, kernels::kTrafficClasses> written_bytes{};
  uint64_t seed = 0;
  int32_t preemptions = 0;
};

// Told by the engine that events wait, or that the generation is done(); pop until there is none.
// Called on an engine thread that is not the schedule's; must return soon. Never called after
// Generation's destructor has returned, which may be called inside OnEvents but waits for an
// OnEvents on another thread: hold no lock there that OnEvents takes.
class EventListener {
 public:
  virtual ~EventListener() = default;
  virtual void OnEvents() = 0;
};

// A request under way. Its events wait in a bounded ring: while the ring is full, this request is
// not scheduled, so a slow reader costs nobody else anything and memory does not grow. Destroying
// it cancels what is still running. Pop, done, usage and status are for one reader at a time.
class Generation {
 public:
  virtual ~Generation() = default;
  // The next event, if there is one. Never blocks, never allocates.
  virtual bool Pop(OutputEvent* event) = 0;
  // Every choice has finished and every event was popped.
  virtual bool done() const = 0;
  // OK, or why the engine failed the request. Valid when done().
  virtual absl::Status status() const = 0;
  // Valid when done().
  virtual RequestUsage usage() const = 0;
  // Takes effect within a step. The choices that still run end with kCancelled. Any thread.
  virtual void Cancel() = 0;
};

struct EngineStats {
  int64_t requests_total = 0;
  int64_t requests_running = 0;
  int64_t requests_waiting = 0;
  int64_t steps_total = 0;
  int64_t prompt_tokens_total = 0;
  int64_t cached_tokens_total = 0;
  int64_t output_tokens_total = 0;
  int64_t preemptions_total = 0;
  int64_t kv_blocks_total = 0;
  int64_t kv_blocks_free = 0;
  int64_t kv_block_tokens = 0;
  kernels::Traffic traffic_total;
  double step_seconds_total = 0;
  double runtime_seconds_total = 0;
};

// Sees every step after it ran, on the schedule's thread, before its result is released. For
// evaluation and tests. request_ids: of each of the step's spans.
class StepObserver {
 public:
  virtual ~StepObserver() = default;
  virtual void OnStep(const runtime::Step& step, const runtime::StepResult& result,
                      const runtime::Executor& executor,
                      std::span<const std::string_view> request_ids) = 0;
};

struct ScheduleOptions {
  int32_t max_waiting = 1024;  // requests that may queue; more: RESOURCE_EXHAUSTED
  bool prefix_cache = true;
  // Largest number of prefill tokens that join a step with decode tokens in it, so that a long
  // prompt does not stall the others' tokens. Bounded by StepLimits::max_tokens.
  int32_t prefill_chunk = 256;
  StepObserver* observer = nullptr;  // not owned
};

class Engine {
 public:
  virtual ~Engine() = default;  // cancels everything and joins the threads

  // Checks the request (INVALID_ARGUMENT naming field and value; RESOURCE_EXHAUSTED: queue full;
  // UNAVAILABLE: draining or failed) and queues it. `listener` (not owned) outlives the Generation.
  virtual absl::StatusOr<std::unique_ptr<Generation>> Generate(GenerateRequest request,
                                                               EventListener* listener) = 0;
  // Null when the model has none: prompts are token ids, replies too.
  virtual const loader::Tokenizer* tokenizer() const = 0;
  virtual const loader::ModelDescription& model() const = 0;
  virtual EngineStats stats() const = 0;
  // From now on Generate answers UNAVAILABLE; what runs goes on.
  virtual void Drain() = 0;
  // Calls the watcher, now and after every change, with whether requests are taken: false while a
  // rank of the executor is being brought back. On any thread; must return soon. Never called any
  // more once WatchHealth has returned with an empty watcher.
  virtual void WatchHealth(std::function<void(bool ready)> watcher) = 0;
};

// The engine over an executor. executor, model and tokenizer (may be null) are owned by the caller
// and outlive the engine.
std::unique_ptr<Engine> MakeEngine(runtime::Executor* executor,
                                   const loader::ModelDescription& model,
                                   const loader::Tokenizer* tokenizer,
                                   const ScheduleOptions& options);

}  // namespace mneme

#endif  // MNEME_ENGINE_ENGINE_H_
