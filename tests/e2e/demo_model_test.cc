// The demo model: its losses and greedy texts as the training code gave them, and `mneme demo`.

#include <fstream>
#include <sstream>

#include "clients/cli/command_line.h"
#include "clients/cli/invocation.h"
#include "clients/cli/verbs.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/process.h"
#include "tests/e2e/served_model.h"

namespace mneme::testing {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

struct Outcome {
  int exit_status;
  std::string out;
  std::string err;
};

Outcome Mneme(std::vector<std::string> arguments) {
  std::istringstream in;
  std::ostringstream out, err;
  const int exit_status = cli::RunCommandLine(cli::kVerbs, "mneme", arguments, in, out, err);
  return {exit_status, out.str(), err.str()};
}

Json Reference(const std::string& model) {
  std::ifstream file("models/demo/testdata/reference.json");
  return Json::parse(file)[model];
}

// A demo model, and threads or processes that share a step's work.
struct Ranks {
  std::string model = "ultramem";
  int32_t ranks = 1;
  bool processes = false;

  std::string directory() const { return "models/demo/" + model; }
  std::string name() const {
    return model + "On" + std::to_string(ranks) +
           (processes    ? "Processes"
            : ranks == 1 ? "Thread"
                         : "Threads");
  }
};

class DemoModelRanksTest : public ::testing::TestWithParam<Ranks> {};

INSTANTIATE_TEST_SUITE_P(Of, DemoModelRanksTest,
                         ::testing::Values(Ranks{"ultramem", 1}, Ranks{"ultramem", 2},
                                           Ranks{"ultramem", 3}, Ranks{"ultramem", 2, true},
                                           Ranks{"olmoe", 1}, Ranks{"olmoe", 2},
                                           Ranks{"olmoe", 3, true}),
                         [](const auto& info) { return info.param.name(); });

TEST_P(DemoModelRanksTest, LossesAreTheTrainers) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "22,000 tokens take many minutes; the golden models run the same code";
#endif
  const Json reference = Reference(GetParam().model);
  // The other text on one rank only: it tells about the model, not about ranks.
  for (const std::string text : {"heldout", "seen"}) {
    if (text == "seen" && GetParam().ranks > 1) continue;
    const std::string ranks = std::to_string(GetParam().ranks);
    Process process({"eval", "--model", GetParam().directory(), "--perplexity",
                     "models/demo/testdata/" + text + ".txt", "--json",
                     (GetParam().processes ? "--processes=" : "--ranks=") + ranks});
    const std::string out = process.ReadRest();
    ASSERT_EQ(process.Wait(), 0) << process.err();
    const Json got = Json::parse(out);
    for (const char* count : {"windows", "predictions", "tokens", "bytes"}) {
      EXPECT_EQ(got[count], reference[text][count]) << text << " " << count;
    }
    EXPECT_NEAR(got["loss"].get<double>(), reference[text]["loss"].get<double>(), 5e-4) << text;
    // The first token and those after the last window are not predicted.
    const double total = got["loss"].get<double>() * got["predictions"].get<double>();
    EXPECT_NEAR(got["loss_per_byte"].get<double>(), total / got["predicted_bytes"].get<double>(),
                1e-9);
    EXPECT_LT(got["predicted_bytes"], got["bytes"]);
  }
}

// Converted, both models have the losses of the trainer.
TEST(DemoModelTest, LossesOfConvertedModelsAreTheTrainers) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "22,000 tokens take many minutes; the golden models run the same code";
#endif
  for (const std::string model : {"ultramem", "olmoe"}) {
    const std::string converted = ::testing::TempDir() + "/converted_" + model;
    const Outcome outcome = Mneme({"convert", "models/demo/" + model, converted});
    ASSERT_EQ(outcome.exit_status, 0) << outcome.err;
    for (const std::string text : {"heldout", "seen"}) {
      const Outcome loss = Mneme({"eval", "--model", converted, "--perplexity",
                                  "models/demo/testdata/" + text + ".txt", "--json"});
      ASSERT_EQ(loss.exit_status, 0) << loss.err;
      EXPECT_NEAR(Json::parse(loss.out)["loss"].get<double>(),
                  Reference(model)[text]["loss"].get<double>(), 5e-4)
          << model << " " << text;
    }
  }
}

// Greedy tokens equal the reference's up to the first place where the best two logits are nearer
// than float32 rounding can tell apart.
TEST_P(DemoModelRanksTest, GreedyTokensAreTheTrainersUpToTheFirstNearTie) {
  constexpr float kNearTie = 0.01f;
  ServingOptions options = ServedModel::Options(GetParam().directory());
  options.ranks = GetParam().ranks;
  if (GetParam().processes) {
    options.process.processes = GetParam().ranks;
    options.process.executable = "clients/cli/mneme";
    options.process.build = cli::kVersion;
  }
  ServedModel served(options, {});
  ASSERT_TRUE(served.status().ok()) << served.status();
  const Json reference = Reference(GetParam().model);
  for (const Json& entry : reference["greedy"]) {
    const std::string prompt = entry["prompt"];
    const auto expected = entry["continuation"].get<std::vector<int32_t>>();
    EXPECT_EQ(*served.client().Tokenize(prompt, true),
              entry["prompt_ids"].get<std::vector<int32_t>>());
    v1::GenerateRequest request = Greedy(TextRequest(prompt, static_cast<int>(expected.size())));
    request.set_logprobs(2);
    const auto result = served.client().Generate(request, {}, nullptr);
    ASSERT_TRUE(result.ok()) << result.status();
    const auto& choice = result->choices[0];
    ASSERT_EQ(choice.logprobs.size(), choice.token_ids.size());
    size_t compared = 0;
    while (compared < expected.size()) {
      const v1::PositionLogprobs& at = choice.logprobs[compared];
      ASSERT_EQ(at.top_size(), 2);
      if (at.top(0).logprob() - at.top(1).logprob() < kNearTie) break;
      ASSERT_EQ(choice.token_ids[compared], expected[compared]) << prompt << " " << compared;
      ++compared;
    }
    if (entry["smallest_gap"].get<float>() > 2 * kNearTie) {
      EXPECT_EQ(compared, expected.size());
    }
    EXPECT_EQ(*served.client().Detokenize(choice.token_ids, true), choice.text);
  }
}

TEST(DemoModelTest, TheDemoStreamsTextAndPrintsItsTable) {
  const Outcome outcome = Mneme({"demo"});
  ASSERT_EQ(outcome.exit_status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("ultramem (ultramem_v2, 10730288 parameters) on "));
  EXPECT_THAT(outcome.out, HasSubstr(" x cpu "));
  EXPECT_THAT(outcome.out, HasSubstr("hacker: n.\nA hacker who has to do with"));
  for (const char* row : {"time to first token", "inter-token latency", "tokens per second",
                          "dense_weights", "keys", "value_rows", "kv"}) {
    EXPECT_THAT(outcome.out, HasSubstr(row));
  }
  const Outcome other = Mneme({"demo", "LOVE, n.", "--max-tokens", "5", "--streams", "3"});
  EXPECT_EQ(other.exit_status, 0) << other.err;
  EXPECT_THAT(other.out, HasSubstr("LOVE, n. A person"));
  EXPECT_THAT(other.out, HasSubstr("21 prompt, 15 output"));
}

TEST(DemoModelTest, TheMixtureOfExpertsIsCalledByItsName) {
  const Outcome outcome = Mneme({"demo", "--model", "olmoe", "--max-tokens", "8"});
  ASSERT_EQ(outcome.exit_status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("olmoe (olmoe, 12089600 parameters) on "));
  EXPECT_THAT(outcome.out, HasSubstr("expert_weights"));
  const Outcome refused = Mneme({"demo", "--compare", "--model", "olmoe"});
  EXPECT_EQ(refused.exit_status, cli::kExitUsage);
  EXPECT_THAT(refused.err, HasSubstr("--compare takes no prompt and no --model"));
}

// A time to first token of a prompt that the warm-up had put into the prefix cache would be none.
TEST(DemoModelTest, TheDemoComputesItsPrompt) {
  const std::string prompt =
      "hacker: n. A person who enjoys exploring the details of programmable systems and how to "
      "stretch their capabilities, as opposed to most users.";
  const Outcome outcome = Mneme({"demo", prompt, "--max-tokens", "4"});
  ASSERT_EQ(outcome.exit_status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr(" prompt, 4 output\n"));
}

TEST(DemoModelTest, LoadMeasuresAServerOfItsOwn) {
  const Outcome outcome = Mneme({"load", "--requests", "5", "--streams", "2", "--prompt-tokens",
                                 "64", "--output-tokens", "8"});
  ASSERT_EQ(outcome.exit_status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("320 prompt, 40 output"));
  EXPECT_THAT(outcome.out, HasSubstr("runtime's own share"));
}

TEST(DemoModelTest, GenerateWithAModelOfItsOwnEndsInOneJsonObject) {
  const Outcome outcome = Mneme({"generate", "--model", kDemoModel, "LOVE, n.", "--max-tokens", "8",
                                 "--temperature", "0", "--json", "--logprobs", "1"});
  ASSERT_EQ(outcome.exit_status, 0) << outcome.err;
  const size_t line = outcome.out.rfind('\n', outcome.out.size() - 2);
  const Json json = Json::parse(outcome.out.substr(line + 1));
  EXPECT_EQ(json["text"].get<std::string>() + "\n", outcome.out.substr(0, line + 1));
  EXPECT_EQ(json["token_ids"].size(), 8u);
  EXPECT_EQ(json["finish_reason"], "length");
  EXPECT_EQ(json["usage"]["prompt_tokens"], 7);
  EXPECT_EQ(json["logprobs"].size(), 8u);
  EXPECT_GT(json["timing"]["total_seconds"], 0);
  EXPECT_GT(json["traffic"]["value_rows"]["read_bytes"], 0);
  const Outcome refused =
      Mneme({"generate", "--model", kDemoModel, "x", "--temperature", "-1", "--max-tokens", "1"});
  EXPECT_EQ(refused.exit_status, cli::kExitFailed);
  EXPECT_THAT(refused.err, HasSubstr("INVALID_ARGUMENT: "));
  EXPECT_THAT(refused.err, HasSubstr("temperature"));
}

}  // namespace
}  // namespace mneme::testing
