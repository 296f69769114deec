// Requests of many kinds to an engine, made from seeds, for tests: read to their end or cut short,
// and compared bit for bit with what each gives alone.
#ifndef MNEME_ENGINE_SERVING_LOAD_H_
#define MNEME_ENGINE_SERVING_LOAD_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/serving.h"

namespace mneme::testing {

// What one choice said: tokens and their log-probabilities, compared bit for bit.
struct Said {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
  FinishReason finish = FinishReason::kNone;
  bool operator==(const Said&) const = default;
};

// Reads a generation of a request with log-probabilities. One thread.
class Reader : public EventListener {
 public:
  void OnEvents() override;

  // Until it is done. Cancels once `cancel_after` tokens have come (-1: never).
  std::vector<Said> ReadAll(Generation* generation, int choices, int cancel_after);
  // Until so many tokens have come, or it is done; says which.
  enum class Stopped : uint8_t { kTokens, kDone };
  Stopped ReadTokens(Generation* generation, int tokens);

 private:
  void Wait();

  std::mutex mutex_;
  std::condition_variable wake_;
  bool ready_ = false;
};

// 1 to 80 prompt tokens below 200, 1 to 40 tokens of 1 to 3 choices. Some prompts begin alike, so
// that the prefix cache has work.
GenerateRequest RandomRequest(uint32_t seed);

// Of one block on all ranks.
int64_t KvBlockBytes(const v1::Plan& plan);

// Fails the test unless all requests are over and all KV blocks free, soon.
void ExpectIdle(const Engine& engine);

// 64 requests at once, a quarter of them cancelled, with the options `together` but too few KV
// blocks for them, against each alone with the options `alone`: equal, what was cancelled up to
// there. Some are preempted, and no block stays behind.
void ExpectManyAtOnceGiveWhatEachGivesAlone(const ServingOptions& together,
                                            const ServingOptions& alone);

}  // namespace mneme::testing

#endif  // MNEME_ENGINE_SERVING_LOAD_H_
