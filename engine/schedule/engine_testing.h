// What the tests of the whole schedule share: an engine over a FakeExecutor, and a reader that
// gathers a generation.
#ifndef MNEME_ENGINE_SCHEDULE_ENGINE_TESTING_H_
#define MNEME_ENGINE_SCHEDULE_ENGINE_TESTING_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/schedule/fake_executor.h"
#include "engine/schedule/schedule_engine.h"

namespace mneme::schedule {

// Token id i is the letter 'a' + i % 26, except 59: the first byte of a two-byte character whose
// second byte comes with the next token, whatever that is, and 60: a special token without text.
inline constexpr int32_t kHalfCharacterToken = 59;
inline constexpr int32_t kSpecialToken = 60;
TextStreamFactory LetterStreams();
std::string LetterText(const std::vector<int32_t>& tokens);

struct GatheredChoice {
  std::vector<int32_t> tokens;
  std::vector<int32_t> echoed;
  std::string text;
  std::vector<float> logprobs;
  std::vector<std::vector<TokenLogprob>> tops;
  FinishReason finish = FinishReason::kNone;
  int32_t stop_token_id = -1;
  std::string stop_string;
};

struct Gathered {
  std::map<int32_t, GatheredChoice> choices;
  std::vector<int32_t> prompt_logprob_tokens;
  std::vector<float> prompt_logprobs;
  bool out_of_order = false;  // an event stood where engine.h says it cannot
  absl::Status status;
  RequestUsage usage;

  const GatheredChoice& operator[](int32_t choice) const { return choices.at(choice); }
};

// Takes events as they come, into `gathered`; true when the generation is done.
bool Drain(Generation* generation, Gathered* gathered);
// Waits, reading, for the generation's end. Aborts the test run after a minute.
Gathered Gather(Generation* generation);

struct EngineFixture {
  explicit EngineFixture(const runtime::StepLimits& step_limits = DefaultLimits(),
                         const ScheduleOptions& schedule_options = {},
                         const FakeModel& fake_model = {}, bool with_text = true);
  static runtime::StepLimits DefaultLimits();

  // Generates and gathers; a refused request is a test failure.
  Gathered Run(const GenerateRequest& request);
  std::unique_ptr<Generation> Start(const GenerateRequest& request);
  // Waits until no request is left, then returns the stats.
  EngineStats Settle();

  FakeModel model;
  loader::ModelDescription description;
  FakeExecutor executor;
  std::unique_ptr<ScheduleEngine> engine;
};

// A greedy request for `tokens` tokens.
GenerateRequest Greedy(std::vector<int32_t> prompt, int32_t tokens);
// Tokens that differ with `seed`, below the special ones.
std::vector<int32_t> MakePrompt(int32_t size, uint32_t seed);
// The greedy continuation of a prompt by definition, from FakeLogit alone.
std::vector<int32_t> DefineGreedy(std::vector<int32_t> prompt, int32_t tokens, int32_t vocab_size);

}  // namespace mneme::schedule

#endif  // MNEME_ENGINE_SCHEDULE_ENGINE_TESTING_H_
