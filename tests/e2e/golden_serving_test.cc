// Every golden checkpoint as a user meets it: `mneme eval` on its input file, and its greedy
// continuations through gRPC.

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "clients/cli/command_line.h"
#include "clients/cli/invocation.h"
#include "clients/cli/verbs.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "loader/safetensors/safetensors.h"
#include "nlohmann/json.hpp"
#include "tests/e2e/process.h"
#include "tests/e2e/served_model.h"
#include "tests/model/golden_case.h"

namespace mneme::testing {
namespace {

// In standard deviations of the golden values.
constexpr double kTolerance = 1e-4;

// The outputs of an eval.
class Output {
 public:
  explicit Output(const std::string& path) {
    auto file = loader::SafetensorsFile::Open(path);
    EXPECT_TRUE(file.ok()) << file.status();
    if (file.ok()) file_ = *std::move(file);
  }
  bool Has(const std::string& name) const { return file_->tensors().contains(name); }
  std::vector<int64_t> Shape(const std::string& name) const {
    return file_->tensors().at(name).shape;
  }
  template <class T>
  std::vector<T> Values(const std::string& name) const {
    const loader::StoredTensor& tensor = file_->tensors().at(name);
    std::vector<T> values(static_cast<size_t>(tensor.elements()));
    EXPECT_EQ(tensor.bytes.size(), values.size() * sizeof(T));
    std::memcpy(values.data(), tensor.bytes.data(), tensor.bytes.size());
    return values;
  }

 private:
  std::shared_ptr<const loader::SafetensorsFile> file_;
};

std::string OutputPath() { return ::testing::TempDir() + "/out.safetensors"; }

std::vector<std::string> EvalArguments(const GoldenCase& golden,
                                       const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {
      "eval",  "--model",   golden.directory(), "--ids", golden.directory() + "/golden.safetensors",
      "--out", OutputPath()};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

Output Eval(const GoldenCase& golden, const std::vector<std::string>& more) {
  const std::vector<std::string> arguments = EvalArguments(golden, more);
  std::istringstream in;
  std::ostringstream printed, err;
  const int exit_status = cli::RunCommandLine(cli::kVerbs, "mneme", arguments, in, printed, err);
  EXPECT_EQ(exit_status, 0) << err.str();
  return Output(OutputPath());
}

// As a process of its own, which starts others.
Output EvalOnProcesses(const GoldenCase& golden, const std::vector<std::string>& more) {
  Process process(EvalArguments(golden, more));
  process.ReadRest();
  EXPECT_EQ(process.Wait(), 0) << process.err();
  return Output(OutputPath());
}

double LargestDifference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    largest = std::max(largest, std::abs(double{a[i]} - b[i]));
  }
  return largest;
}

class GoldenServingTest : public ::testing::TestWithParam<std::string> {};

// Selections of each head as sets, their scores by value.
void CheckSelections(const GoldenCase& golden, const Output& output, const std::string& suffix,
                     int64_t heads) {
  const auto expected = golden.Rows("mem_grid_index" + suffix);
  const auto expected_scores = golden.Floats("mem_score" + suffix);
  const auto got = output.Values<int64_t>("mem_grid_index" + suffix);
  const auto got_scores = output.Values<float>("mem_score" + suffix);
  const size_t per_token = expected[0].size();
  ASSERT_EQ(got.size(), expected.size() * per_token);
  ASSERT_EQ(got_scores.size(), expected_scores.size());
  const size_t scores = got_scores.size() / got.size();
  const size_t k = per_token / static_cast<size_t>(heads);
  const double unit = StandardDeviation(expected_scores);
  for (size_t first = 0; first < got.size(); first += k) {
    std::map<int64_t, size_t> place;
    for (size_t s = first; s < first + k; ++s) place[got[s]] = s;
    for (size_t s = first; s < first + k; ++s) {
      const auto found = place.find(expected[s / per_token][s % per_token]);
      ASSERT_NE(found, place.end()) << suffix << " selection " << s;
      for (size_t c = 0; c < scores; ++c) {
        EXPECT_NEAR(got_scores[found->second * scores + c], expected_scores[s * scores + c],
                    kTolerance * unit);
      }
    }
  }
}

// The experts in the order of their weights, and the weights.
void CheckRouters(const GoldenCase& golden, const Output& output,
                  const loader::ModelDescription& model) {
  for (int64_t block = 0; block < model.layers; ++block) {
    const std::string suffix = absl::StrCat(".", block);
    ASSERT_EQ(golden.Has("router_topk" + suffix), model.HasExperts(block));
    EXPECT_EQ(output.Has("router_topk" + suffix), model.HasExperts(block));
    if (!model.HasExperts(block)) continue;
    std::vector<int64_t> experts;
    for (const auto& row : golden.Rows("router_topk" + suffix)) {
      experts.insert(experts.end(), row.begin(), row.end());
    }
    EXPECT_EQ(output.Values<int64_t>("router_topk" + suffix), experts);
    EXPECT_LE(LargestDifference(output.Values<float>("router_weight" + suffix),
                                golden.Floats("router_weight" + suffix)),
              1e-5);
  }
}

void CheckOutput(const GoldenCase& golden, const Output& output) {
  const std::vector<float> logits = golden.Floats("logits");
  const auto length = static_cast<int64_t>(golden.Rows("input_ids")[0].size());
  EXPECT_EQ(output.Shape("logits"), (std::vector<int64_t>{2, length, golden.LastDim("logits")}));
  EXPECT_LE(LargestDifference(output.Values<float>("logits"), logits),
            kTolerance * StandardDeviation(logits));
  EXPECT_EQ(output.Shape("greedy"), (std::vector<int64_t>{2, 32}));
  std::vector<int64_t> greedy;
  for (const auto& row : golden.Rows("greedy_continuation")) {
    greedy.insert(greedy.end(), row.begin(), row.end());
  }
  EXPECT_EQ(output.Values<int64_t>("greedy"), greedy);

  const auto checkpoint = loader::InspectCheckpoint(golden.directory());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  CheckRouters(golden, output, checkpoint->model);
  if (!checkpoint->model.memory.has_value()) return;
  const loader::MemoryDescription& memory = *checkpoint->model.memory;
  for (size_t i = 0; i < memory.layers.size(); ++i) {
    const std::string suffix = absl::StrCat(".", i);
    EXPECT_EQ(output.Has("mem_out" + suffix), !memory.layers[i].lost);
    if (memory.layers[i].lost) continue;
    CheckSelections(golden, output, suffix, memory.heads);
    const std::vector<float> out = golden.Floats("mem_out" + suffix);
    EXPECT_LE(LargestDifference(output.Values<float>("mem_out" + suffix), out),
              kTolerance * StandardDeviation(out));
  }
}

TEST_P(GoldenServingTest, EvalMatches) {
  const GoldenCase golden(GetParam());
  CheckOutput(golden, Eval(golden, {"--trace", "--greedy", "32"}));
}

// However the work is divided.
std::vector<std::vector<std::string>> Layouts(const GoldenCase& golden) {
  std::vector<std::vector<std::string>> layouts = {{"--layout", "free"}, {"--layout", "split"}};
  if (golden.Has("rope_inv_freq")) {  // those of Mixtures-of-Experts
    for (const char* experts : {"experts", "width"}) {
      layouts.push_back({"--layout", "split", "--expert-layout", experts});
    }
  }
  if (!golden.Has("mem_out.0")) return layouts;
  for (const char* tables : {"rows", "columns", "selections"}) {
    layouts.push_back({"--layout", "split", "--table-layout", tables});
  }
  return layouts;
}

// On threads, on processes that share memory and on some that exchange over TCP.
TEST_P(GoldenServingTest, EvalMatchesOnRanks) {
  const GoldenCase golden(GetParam());
  bool tcp = false;
  for (const std::vector<std::string>& layout : Layouts(golden)) {
    const auto arguments = [&](std::vector<std::string> ranks) {
      ranks.insert(ranks.end(), layout.begin(), layout.end());
      ranks.insert(ranks.end(), {"--trace", "--greedy", "32"});
      return ranks;
    };
    SCOPED_TRACE(absl::StrJoin(layout, " "));
    for (const char* ranks : {"1", "2", "3", "4"}) {
      if (layout.size() > 2 && std::string(ranks) == "1") continue;  // nothing to divide
      CheckOutput(golden, Eval(golden, arguments({"--ranks", ranks})));
    }
    CheckOutput(golden, EvalOnProcesses(golden, arguments({"--processes", tcp ? "3" : "2",
                                                           "--transport", tcp ? "tcp" : "shm"})));
    tcp = !tcp;
  }
}

TEST_P(GoldenServingTest, Bfloat16WeightsMatchTheReferenceKernelsOnTheSameWeights) {
  const GoldenCase golden(GetParam());
  const std::vector<float> simd = Eval(golden, {"--weights", "bf16"}).Values<float>("logits");
  const std::vector<float> reference =
      Eval(golden, {"--weights", "bf16", "--kernels", "reference"}).Values<float>("logits");
  EXPECT_LE(LargestDifference(simd, reference), kTolerance * StandardDeviation(reference));
}

TEST_P(GoldenServingTest, ChunksDoNotChangeBits) {
  const GoldenCase golden(GetParam());
  const std::vector<float> whole = Eval(golden, {}).Values<float>("logits");
  const std::vector<float> chunked =
      Eval(golden, {"--max-step-tokens", "7", "--max-sequences", "2"}).Values<float>("logits");
  EXPECT_EQ(whole, chunked);
}

TEST_P(GoldenServingTest, GenerateGivesTheGoldenTokens) {
  const GoldenCase golden(GetParam());
  ServedModel served(golden.directory());
  ASSERT_TRUE(served.status().ok()) << served.status();
  const auto prompts = golden.Rows("greedy_prompt");
  const auto continuations = golden.Rows("greedy_continuation");
  for (size_t i = 0; i < prompts.size(); ++i) {
    const auto result = served.client().Generate(Greedy(IdsRequest(prompts[i], 32)), {}, nullptr);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->choices[0].token_ids, continuations[i]);
    EXPECT_EQ(result->choices[0].finish_reason, v1::LENGTH);
    EXPECT_EQ(result->choices[0].text, "");  // these checkpoints have no tokenizer
    EXPECT_EQ(result->usage.prompt_tokens(), 9);
    EXPECT_EQ(result->usage.output_tokens(), 32);
  }
  EXPECT_EQ(served.WaitUntilWhole(), absl::OkStatus());
}

// `mneme generate` on a model without a tokenizer prints ids.
TEST_P(GoldenServingTest, TheGenerateVerbPrintsTheGoldenTokens) {
  const GoldenCase golden(GetParam());
  const auto prompts = golden.Rows("greedy_prompt");
  const auto continuations = golden.Rows("greedy_continuation");
  for (size_t i = 0; i < prompts.size(); ++i) {
    std::istringstream in;
    std::ostringstream out, err;
    const std::vector<std::string> arguments = {"generate",
                                                "--model",
                                                golden.directory(),
                                                "--prompt-ids",
                                                absl::StrJoin(prompts[i], " "),
                                                "--max-tokens",
                                                "32",
                                                "--temperature",
                                                "0",
                                                "--repetition-penalty",
                                                "1",
                                                "--ignore-eos",
                                                "--json"};
    const int exit_status = cli::RunCommandLine(cli::kVerbs, "mneme", arguments, in, out, err);
    ASSERT_EQ(exit_status, 0) << err.str();
    std::istringstream lines(out.str());
    std::string ids, json;
    ASSERT_TRUE(std::getline(lines, ids) && std::getline(lines, json)) << out.str();
    EXPECT_EQ(ids, absl::StrJoin(continuations[i], " ") + " ");
    const auto parsed = nlohmann::json::parse(json);
    EXPECT_EQ(parsed["token_ids"].get<std::vector<int32_t>>(), continuations[i]);
    EXPECT_EQ(parsed["text"], "");
    EXPECT_EQ(parsed["finish_reason"], "length");
    EXPECT_FALSE(std::getline(lines, json)) << json;
  }
}

// A key that nobody knows is refused by name, and accepted if the user says so, also by ranks that
// are processes.
TEST(ConfigKeysTest, AnUnknownKeyIsRefusedUnlessIgnored) {
  namespace fs = std::filesystem;
  const GoldenCase golden("olmoe");
  const fs::path folder = fs::path(::testing::TempDir()) / "config_keys";
  fs::create_directories(folder);
  fs::copy_file(fs::path(golden.directory()) / "model.safetensors", folder / "model.safetensors",
                fs::copy_options::overwrite_existing);
  std::ifstream config(golden.directory() + "/config.json");
  nlohmann::json json = nlohmann::json::parse(config);
  json["attention_color"] = "blue";
  std::ofstream(folder / "config.json") << json.dump();
  const auto eval = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {
        "eval",  "--model",    folder,         "--ids", golden.directory() + "/golden.safetensors",
        "--out", OutputPath(), "--processes=2"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  Process refused(eval({}));
  refused.ReadRest();
  EXPECT_EQ(refused.Wait(), cli::kExitFailed);
  EXPECT_THAT(
      refused.err(),
      ::testing::HasSubstr("config.json: attention_color: unknown key; if it changes nothing, "
                           "--ignore-config-key \"attention_color\" accepts it"));
  Process accepted(eval({"--ignore-config-key", "attention_color"}));
  accepted.ReadRest();
  ASSERT_EQ(accepted.Wait(), 0) << accepted.err();
  const std::vector<float> logits = golden.Floats("logits");
  EXPECT_LE(LargestDifference(Output(OutputPath()).Values<float>("logits"), logits),
            kTolerance * StandardDeviation(logits));
}

INSTANTIATE_TEST_SUITE_P(Cases, GoldenServingTest, ::testing::ValuesIn(GoldenCases()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace mneme::testing
