#include "engine/schedule/engine_testing.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>
#include <utility>

namespace mneme::schedule {
namespace {

class LetterStream : public TextStream {
 public:
  explicit LetterStream(bool skip_special) : skip_special_(skip_special) {}

  void Reset(std::span<const int32_t> context) override {
    half_ = !context.empty() && context.back() == kHalfCharacterToken;
  }
  void Append(int32_t id, std::string* out) override {
    if (id == kSpecialToken) {
      if (!skip_special_) out->append("<s>");
      return;
    }
    if (std::exchange(half_, id == kHalfCharacterToken)) out->append("\u00e9");
    if (id != kHalfCharacterToken) out->push_back(static_cast<char>('a' + id % 26));
  }
  void Flush(std::string* out) override {
    if (half_) out->append("\ufffd");
  }

 private:
  bool skip_special_;
  bool half_ = false;
};

}  // namespace

TextStreamFactory LetterStreams() {
  return [](bool skip_special) { return std::make_unique<LetterStream>(skip_special); };
}

std::string LetterText(const std::vector<int32_t>& tokens) {
  LetterStream stream(true);
  std::string text;
  for (int32_t token : tokens) stream.Append(token, &text);
  stream.Flush(&text);
  return text;
}

bool Drain(Generation* generation, Gathered* gathered) {
  OutputEvent event;
  while (generation->Pop(&event)) {
    if (event.kind == OutputEvent::Kind::kPromptLogprob) {
      gathered->out_of_order |= !gathered->choices.empty();
      gathered->prompt_logprob_tokens.push_back(event.token_id);
      gathered->prompt_logprobs.push_back(event.logprob);
      continue;
    }
    GatheredChoice& choice = gathered->choices[event.choice];
    gathered->out_of_order |= choice.finish != FinishReason::kNone;
    choice.text.append(event.text);
    if (event.kind == OutputEvent::Kind::kFinish) {
      choice.finish = event.finish;
      choice.stop_token_id = event.stop_token_id;
      choice.stop_string = event.stop_string;
    } else if (event.prompt) {
      gathered->out_of_order |= !choice.tokens.empty();
      choice.echoed.push_back(event.token_id);
    } else {
      choice.tokens.push_back(event.token_id);
      if (event.has_logprob) {
        choice.logprobs.push_back(event.logprob);
        choice.tops.emplace_back(event.top.begin(), event.top.end());
      }
    }
  }
  if (!generation->done()) return false;
  gathered->status = generation->status();
  gathered->usage = generation->usage();
  return true;
}

Gathered Gather(Generation* generation) {
  Gathered gathered;
  const auto start = std::chrono::steady_clock::now();
  while (!Drain(generation, &gathered)) {
    if (std::chrono::steady_clock::now() - start > std::chrono::minutes(1)) {
      std::fprintf(stderr, "a generation did not end within a minute\n");
      std::abort();
    }
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
  return gathered;
}

runtime::StepLimits EngineFixture::DefaultLimits() {
  runtime::StepLimits limits;
  limits.max_tokens = 64;
  limits.max_sequences = 16;
  limits.max_logit_rows = 32;
  limits.max_positions = 512;
  limits.kv_blocks = 256;
  limits.kv_block_tokens = 16;
  return limits;
}

EngineFixture::EngineFixture(const runtime::StepLimits& step_limits,
                             const ScheduleOptions& schedule_options, const FakeModel& fake_model,
                             bool with_text)
    : model(fake_model),
      description(Describe(model)),
      executor(model, step_limits),
      engine(std::make_unique<ScheduleEngine>(&executor, description, nullptr,
                                              with_text ? LetterStreams() : TextStreamFactory(),
                                              schedule_options)) {}

std::unique_ptr<Generation> EngineFixture::Start(const GenerateRequest& request) {
  absl::StatusOr<std::unique_ptr<Generation>> generation = engine->Generate(request, nullptr);
  if (!generation.ok()) {
    std::fprintf(stderr, "refused: %s\n", generation.status().ToString().c_str());
    std::abort();
  }
  return std::move(*generation);
}

Gathered EngineFixture::Run(const GenerateRequest& request) { return Gather(Start(request).get()); }

EngineStats EngineFixture::Settle() {
  for (;;) {
    const EngineStats stats = engine->stats();
    if (stats.requests_running == 0 && stats.requests_waiting == 0) return stats;
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
}

GenerateRequest Greedy(std::vector<int32_t> prompt, int32_t tokens) {
  GenerateRequest request;
  request.prompt = std::move(prompt);
  request.max_tokens = tokens;
  request.sampling.temperature = 0;
  return request;
}

std::vector<int32_t> MakePrompt(int32_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> prompt(static_cast<size_t>(size));
  for (int32_t& token : prompt) token = static_cast<int32_t>(random() % kHalfCharacterToken);
  return prompt;
}

std::vector<int32_t> DefineGreedy(std::vector<int32_t> prompt, int32_t tokens, int32_t vocab_size) {
  std::vector<int32_t> output;
  for (int32_t i = 0; i < tokens; ++i) {
    int32_t best = 0;
    for (int32_t id = 1; id < vocab_size; ++id) {
      if (FakeLogit(prompt, id) > FakeLogit(prompt, best)) best = id;
    }
    prompt.push_back(best);
    output.push_back(best);
  }
  return output;
}

}  // namespace mneme::schedule
