// The whole schedule over a fake executor: what a request gets.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "engine/schedule/engine_testing.h"
#include "gtest/gtest.h"

namespace mneme::schedule {
namespace {

TEST(EngineTest, GreedyTokensAreTheDefinitions) {
  EngineFixture fixture;
  for (int32_t size : {1, 2, 15, 16, 17, 32, 63, 64, 65, 200}) {
    const std::vector<int32_t> prompt = MakePrompt(size, static_cast<uint32_t>(size));
    const Gathered got = fixture.Run(Greedy(prompt, 40));
    EXPECT_TRUE(got.status.ok());
    EXPECT_EQ(got[0].tokens, DefineGreedy(prompt, 40, 61));
    EXPECT_EQ(got[0].text, LetterText(got[0].tokens));
    EXPECT_EQ(got[0].finish, FinishReason::kLength);
    EXPECT_EQ(got.usage.prompt_tokens, size);
    EXPECT_EQ(got.usage.output_tokens, 40);
    EXPECT_FALSE(got.out_of_order);
  }
  EXPECT_EQ(fixture.Settle().kv_blocks_free, 256);
}

TEST(EngineTest, WithoutMaxTokensTheContextIsTheEnd) {
  EngineFixture fixture;
  GenerateRequest request = Greedy(MakePrompt(500, 1), 0);
  request.max_tokens.reset();
  EXPECT_EQ(fixture.Run(request)[0].tokens.size(), 12u);
  request.prompt = MakePrompt(512, 1);
  const Gathered got = fixture.Run(request);
  EXPECT_TRUE(got[0].tokens.empty());
  EXPECT_EQ(got[0].finish, FinishReason::kLength);
}

TEST(EngineTest, MaxTokensZeroEvaluatesThePromptForAllChoices) {
  EngineFixture fixture;
  GenerateRequest request = Greedy(MakePrompt(100, 2), 0);
  request.n = 3;
  request.echo = true;
  request.prompt_logprobs = 2;
  const Gathered got = fixture.Run(request);
  ASSERT_EQ(got.choices.size(), 3u);
  for (const auto& [index, choice] : got.choices) {
    EXPECT_EQ(choice.echoed, request.prompt);
    EXPECT_EQ(choice.text, LetterText(request.prompt));
    EXPECT_EQ(choice.finish, FinishReason::kLength);
  }
  EXPECT_EQ(got.prompt_logprob_tokens.size(), 99u);
  EXPECT_FALSE(got.out_of_order);
  EXPECT_EQ(fixture.Settle().kv_blocks_free, 256);
}

TEST(EngineTest, StopTokensEndTheOutputAndAreLeftOutUnlessAskedFor) {
  const std::vector<int32_t> prompt = MakePrompt(20, 3);
  const std::vector<int32_t> all = DefineGreedy(prompt, 30, 61);
  const int32_t stop = all[7];
  const size_t at = static_cast<size_t>(std::ranges::find(all, stop) - all.begin());
  const std::vector<int32_t> before(all.begin(), all.begin() + static_cast<int64_t>(at));

  FakeModel model;
  model.eos_token_ids = {stop};
  EngineFixture with_eos(EngineFixture::DefaultLimits(), {}, model);
  const Gathered eos = with_eos.Run(Greedy(prompt, 30));
  EXPECT_EQ(eos[0].tokens, before);
  EXPECT_EQ(eos[0].finish, FinishReason::kStop);
  EXPECT_EQ(eos[0].stop_token_id, stop);
  EXPECT_EQ(eos.usage.output_tokens, static_cast<int32_t>(before.size()));

  GenerateRequest ignoring = Greedy(prompt, 30);
  ignoring.ignore_eos = true;
  EXPECT_EQ(with_eos.Run(ignoring)[0].tokens, all);

  EngineFixture fixture;
  GenerateRequest request = Greedy(prompt, 30);
  request.stop_token_ids = {stop};
  EXPECT_EQ(fixture.Run(request)[0].tokens, before);
  request.include_stop_str_in_output = true;
  std::vector<int32_t> with_stop = before;
  with_stop.push_back(stop);
  EXPECT_EQ(fixture.Run(request)[0].tokens, with_stop);
}

TEST(EngineTest, MinTokensSuppressesStopIdsUntilThen) {
  const std::vector<int32_t> prompt = MakePrompt(20, 3);
  const std::vector<int32_t> all = DefineGreedy(prompt, 30, 61);
  EngineFixture fixture;
  GenerateRequest request = Greedy(prompt, 30);
  request.stop_token_ids = {all[2]};
  request.min_tokens = 12;
  const Gathered got = fixture.Run(request);
  EXPECT_GE(got[0].tokens.size(), 12u);
  for (size_t i = 0; i < 12; ++i) EXPECT_NE(got[0].tokens[i], all[2]);
}

TEST(EngineTest, MinTokensSuppressesAnEosThatIsIgnored) {
  const std::vector<int32_t> prompt = MakePrompt(20, 4);
  const std::vector<int32_t> all = DefineGreedy(prompt, 30, 61);
  FakeModel model;
  model.eos_token_ids = {all[2]};
  EngineFixture fixture(EngineFixture::DefaultLimits(), {}, model);
  GenerateRequest request = Greedy(prompt, 30);
  request.ignore_eos = true;
  EXPECT_EQ(fixture.Run(request)[0].tokens, all);
  request.min_tokens = 12;
  const Gathered got = fixture.Run(request);
  EXPECT_EQ(got[0].tokens.size(), 30u);
  for (size_t i = 0; i < 12; ++i) EXPECT_NE(got[0].tokens[i], all[2]);
}

TEST(EngineTest, StopStringsEndTheTextWhereTheyBegin) {
  EngineFixture fixture;
  const std::vector<int32_t> prompt = MakePrompt(20, 4);
  const std::string whole = LetterText(DefineGreedy(prompt, 30, 61));
  const std::string stop = whole.substr(9, 3);
  const size_t at = whole.find(stop);
  GenerateRequest request = Greedy(prompt, 30);
  request.stop = {"0", stop};
  const Gathered got = fixture.Run(request);
  EXPECT_EQ(got[0].text, whole.substr(0, at));
  EXPECT_EQ(got[0].finish, FinishReason::kStop);
  EXPECT_EQ(got[0].stop_string, stop);
  request.include_stop_str_in_output = true;
  EXPECT_EQ(fixture.Run(request)[0].text, whole.substr(0, at + 3));
  request.include_stop_str_in_output = false;
  request.text = false;
  const Gathered ids = fixture.Run(request);
  EXPECT_EQ(ids[0].text, "");
  EXPECT_EQ(ids[0].stop_string, stop);
  EXPECT_EQ(ids[0].tokens, got[0].tokens);
  // What was held back is released when the output ends without a match.
  request.text = true;
  request.stop = {whole + "x"};
  EXPECT_EQ(fixture.Run(request)[0].text, whole);
}

TEST(EngineTest, EchoBringsThePromptFirstThroughARingMuchSmaller) {
  EngineFixture fixture;
  GenerateRequest request = Greedy(MakePrompt(300, 5), 100);
  request.echo = true;
  request.n = 2;
  const Gathered got = fixture.Run(request);
  const std::vector<int32_t> output = DefineGreedy(request.prompt, 100, 61);
  std::vector<int32_t> whole = request.prompt;
  whole.insert(whole.end(), output.begin(), output.end());
  for (int32_t i = 0; i < 2; ++i) {
    EXPECT_EQ(got[i].echoed, request.prompt);
    EXPECT_EQ(got[i].tokens, output);
    EXPECT_EQ(got[i].text, LetterText(whole));
  }
  EXPECT_FALSE(got.out_of_order);
}

TEST(EngineTest, LogprobsAreOfTheUnprocessedLogits) {
  EngineFixture fixture;
  GenerateRequest request = Greedy(MakePrompt(90, 6), 8);
  request.logprobs = 3;
  request.prompt_logprobs = 1;
  request.sampling.logit_bias = {{5, 100.0f}};
  request.echo = true;
  const Gathered got = fixture.Run(request);
  std::vector<int32_t> sequence = request.prompt;
  const auto logprob = [](std::span<const int32_t> context, int32_t id) {
    double sum = 0;
    for (int32_t i = 0; i < 64; ++i) sum += std::exp(FakeLogit(context, i));
    return FakeLogit(context, id) - std::log(sum);
  };
  ASSERT_EQ(got.prompt_logprobs.size(), 89u);
  for (size_t i = 0; i < 89; ++i) {
    EXPECT_EQ(got.prompt_logprob_tokens[i], request.prompt[i + 1]);
    EXPECT_NEAR(got.prompt_logprobs[i],
                logprob(std::span(request.prompt).first(i + 1), request.prompt[i + 1]), 1e-5);
  }
  ASSERT_EQ(got[0].logprobs.size(), 8u);
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(got[0].tokens[i], 5);
    EXPECT_NEAR(got[0].logprobs[i], logprob(sequence, 5), 1e-5);
    ASSERT_EQ(got[0].tops[i].size(), 3u);
    EXPECT_GE(got[0].tops[i][0].logprob, got[0].tops[i][1].logprob);
    sequence.push_back(5);
  }
  EXPECT_FALSE(got.out_of_order);
  EXPECT_EQ(got.usage.cached_tokens, 0);
}

TEST(EngineTest, TheSameSeedGivesTheSameTextAndNoSeedReportsOne) {
  EngineFixture fixture;
  GenerateRequest request = Greedy(MakePrompt(30, 7), 50);
  request.sampling.temperature = 1;
  request.n = 4;
  const Gathered first = fixture.Run(request);
  request.sampling.seed = first.usage.seed;
  const Gathered second = fixture.Run(request);
  for (int32_t i = 0; i < 4; ++i) EXPECT_EQ(first[i].tokens, second[i].tokens);
  EXPECT_NE(first[0].tokens, first[1].tokens);
  request.sampling.seed = first.usage.seed + 1;
  EXPECT_NE(fixture.Run(request)[0].tokens, first[0].tokens);
}

TEST(EngineTest, ChoicesShareThePromptsBlocks) {
  for (bool prefix_cache : {true, false}) {
    ScheduleOptions options;
    options.prefix_cache = prefix_cache;
    EngineFixture fixture(EngineFixture::DefaultLimits(), options);
    // 10 blocks of prompt: eight choices fit into 256 blocks either way; the tokens computed tell.
    GenerateRequest request = Greedy(MakePrompt(165, 8), 20);
    request.n = 8;
    const Gathered got = fixture.Run(request);
    const std::vector<int32_t> expected = DefineGreedy(request.prompt, 20, 61);
    for (int32_t i = 0; i < 8; ++i) EXPECT_EQ(got[i].tokens, expected);
    const EngineStats stats = fixture.Settle();
    // KV written is 64 bytes a token: the prompt once, its tail of 5 seven times, 19 tokens each.
    const double computed = got.usage.written_bytes[static_cast<int>(kernels::TrafficClass::kKv)];
    EXPECT_EQ(computed / 64, 165 + 7 * 5 + 8 * 19);
    EXPECT_EQ(stats.kv_blocks_free, 256);
  }
}

TEST(EngineTest, APrefixIsFoundAgainAndGivesTheSame) {
  EngineFixture fixture;
  const std::vector<int32_t> prompt = MakePrompt(100, 9);
  const Gathered first = fixture.Run(Greedy(prompt, 30));
  EXPECT_EQ(first.usage.cached_tokens, 0);
  std::vector<int32_t> longer = prompt;
  longer.insert(longer.end(), first[0].tokens.begin(), first[0].tokens.end());
  const Gathered second = fixture.Run(Greedy(longer, 30));
  // 129 tokens of the first were computed: 8 full blocks.
  EXPECT_EQ(second.usage.cached_tokens, 128);
  EXPECT_EQ(second[0].tokens, DefineGreedy(longer, 30, 61));
  EXPECT_EQ(fixture.Settle().cached_tokens_total, 128);
  // Whole blocks only, and one token at least is computed.
  EXPECT_EQ(fixture.Run(Greedy({prompt.begin(), prompt.begin() + 96}, 1)).usage.cached_tokens, 80);
}

TEST(EngineTest, TrafficOfRequestsSumsToTheSteps) {
  EngineFixture fixture;
  std::vector<std::unique_ptr<Generation>> generations;
  for (int32_t i = 0; i < 10; ++i) {
    GenerateRequest request = Greedy(MakePrompt(5 + 17 * i, static_cast<uint32_t>(i)), 10 + i);
    request.n = 1 + i % 3;
    if (i % 4 == 0) request.prompt_logprobs = 1;
    generations.push_back(fixture.Start(request));
  }
  RequestUsage sum;
  for (const auto& generation : generations) {
    const Gathered got = Gather(generation.get());
    for (int c = 0; c < kernels::kTrafficClasses; ++c) {
      sum.read_bytes[c] += got.usage.read_bytes[c];
      sum.written_bytes[c] += got.usage.written_bytes[c];
    }
  }
  const EngineStats stats = fixture.Settle();
  EXPECT_EQ(stats.traffic_total, fixture.executor.traffic());
  for (int c = 0; c < kernels::kTrafficClasses; ++c) {
    const double read = static_cast<double>(stats.traffic_total.read_bytes[c]);
    const double written = static_cast<double>(stats.traffic_total.written_bytes[c]);
    // Rounding of a few thousand additions of doubles.
    EXPECT_NEAR(sum.read_bytes[c], read, 1e-9 * read);
    EXPECT_NEAR(sum.written_bytes[c], written, 1e-9 * written);
  }
}

TEST(EngineTest, AStepIsNeverLargerThanItsLimitsAndDecodesGoOnBesideLongPrompts) {
  runtime::StepLimits limits = EngineFixture::DefaultLimits();
  ScheduleOptions options;
  options.prefill_chunk = 8;
  EngineFixture fixture(limits, options);
  int32_t most_prefill_beside_decodes = 0;
  fixture.executor.on_step = [&](const runtime::Step& step) {
    int32_t decodes = 0;
    int32_t prefill = 0;
    for (const runtime::StepSpan& span : step.spans()) {
      (span.rows == 1 ? decodes : prefill) += span.rows;
    }
    if (decodes > 0) most_prefill_beside_decodes = std::max(most_prefill_beside_decodes, prefill);
    return absl::OkStatus();
  };
  auto a = fixture.Start(Greedy(MakePrompt(10, 1), 60));
  auto b = fixture.Start(Greedy(MakePrompt(400, 2), 10));
  EXPECT_EQ(Gather(a.get())[0].tokens.size(), 60u);
  EXPECT_EQ(Gather(b.get())[0].tokens, DefineGreedy(MakePrompt(400, 2), 10, 61));
  EXPECT_LE(most_prefill_beside_decodes, 8);
}

}  // namespace
}  // namespace mneme::schedule
