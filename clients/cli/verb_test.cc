// The verbs that need no server, as a user calls them; tests/e2e has the others.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "clients/cli/called_mneme.h"
#include "nlohmann/json.hpp"

namespace mneme::cli {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

constexpr char kModel[] = "models/demo/ultramem";

// A copy of the demo model with a generation_config.json.
std::string DemoCopy(const std::string& name, const std::string& generation_config) {
  const std::string directory = ::testing::TempDir() + "/" + name;
  std::filesystem::remove_all(directory);
  std::filesystem::copy(kModel, directory);
  std::ofstream(directory + "/generation_config.json") << generation_config;
  return directory;
}

TEST(VerbTest, EveryVerbHasHelp) {
  for (const Verb& verb : kVerbs) {
    const Outcome outcome = Mneme({verb.name, "--help"});
    EXPECT_EQ(outcome.exit_status, 0) << verb.name;
    EXPECT_THAT(outcome.out, HasSubstr(std::string("usage: mneme ") + verb.name));
    EXPECT_EQ(outcome.err, "");
    EXPECT_EQ(Mneme({verb.name, "--no-such-flag"}).exit_status, kExitUsage) << verb.name;
  }
}

TEST(VerbTest, NumbersOutsideOfTheirRangesAreRefused) {
  const std::pair<const char*, const char*> kRefusals[] = {
      {"--max-message-mb=4096", "--max-message-mb: 4096 is not in [1, 2047]"},
      {"--max-message-mb=-1", "--max-message-mb: -1 is not in [1, 2047]"},
      {"--max-prompt-tokens=-1", "--max-prompt-tokens: -1 is not in [0, 1048576]"},
      {"--max-requests=0", "--max-requests: 0 is not in [1, 65536]"},
      {"--max-requests=-1", "--max-requests: -1 is not in [1, 65536]"},
      {"--max-waiting=0", "--max-waiting: 0 is not in [1, 65536]"},
      {"--max-waiting=2147483647", "--max-waiting: 2147483647 is not in [1, 65536]"},
      {"--prefill-chunk=-5", "--prefill-chunk: -5 is not in [1, 1048576]"},
      {"--drain-seconds=-5", "--drain-seconds: -5 is not in [0, 86400]"},
      {"--max-sequences=1048576", "--max-sequences: 1048576 is not in [1, 4096]"},
  };
  for (const auto& [flag, message] : kRefusals) {
    const Outcome outcome = Mneme({"serve", flag});
    EXPECT_EQ(outcome.exit_status, kExitUsage) << flag;
    EXPECT_EQ(outcome.err, std::string("mneme serve: ") + message + "\n");
  }
  EXPECT_EQ(Mneme({"generate", "x", "--timeout-seconds=-5"}).err,
            "mneme generate: --timeout-seconds: -5 is not in [0, 604800]\n");
  EXPECT_EQ(Mneme({"load", "--prompt-tokens=-1"}).err,
            "mneme load: --prompt-tokens: -1 is not in [1, 1048576]\n");
  EXPECT_EQ(Mneme({"demo", "--streams=0"}).err, "mneme demo: --streams: 0 is not in [1, 256]\n");
}

// A flag that would change nothing is a mistake, not a wish.
TEST(VerbTest, FlagsThatDoNotGoTogetherAreRefused) {
  using Arguments = std::vector<std::string>;
  const std::pair<Arguments, const char*> kRefusals[] = {
      {{"demo", "--compare", "--max-tokens=5"},
       "mneme demo: --compare has requests of its own: no --max-tokens\n"},
      {{"demo", "--compare", "a prompt"}, "mneme demo: --compare takes no prompt and no --model\n"},
      {{"eval", "--model", kModel, "--perplexity=x.txt", "--trace"},
       "mneme eval: --trace goes with --ids, not with --perplexity\n"},
      {{"eval", "--model", kModel, "--ids=a", "--out=b", "--window=8"},
       "mneme eval: --window goes with --perplexity, not with --ids\n"},
      {{"generate", "x", "--logprobs=2"},
       "mneme generate: --logprobs needs --json, which prints them\n"}};
  for (const auto& [arguments, message] : kRefusals) {
    const Outcome outcome = Mneme(arguments);
    EXPECT_EQ(outcome.exit_status, kExitUsage);
    EXPECT_EQ(outcome.err, message);
  }
}

TEST(PlanTest, ShapesArePlannedWithoutAFile) {
  const Outcome outcome = Mneme({"plan", "--shape", "ultramem-1b-7b", "--ranks", "2"});
  EXPECT_EQ(outcome.exit_status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr(" of ultramem-1b-7b (ultramem_v2) on 2xcpu: 2 ranks"));
  EXPECT_THAT(outcome.out, HasSubstr("rank 1 holds weights "));
  EXPECT_THAT(outcome.out, HasSubstr("all_reduce"));
  EXPECT_THAT(Mneme({"plan", "--shape", "x"}).err, HasSubstr("there is no shape 'x'; there are "));
  EXPECT_THAT(Mneme({"plan", "--shape", "ultramem-1b-7b", "--layers=17"}).err,
              HasSubstr("layers is 17, ultramem-1b-7b has 16"));
  EXPECT_THAT(Mneme({"plan", "--model", kModel, "--shape", "x"}).err,
              HasSubstr("--shape: 'x' and --model: 'models/demo/ultramem' exclude each other"));
  EXPECT_THAT(Mneme({"plan", "--layers=2"}).err, HasSubstr("--layers: 2 goes with --shape"));
  EXPECT_THAT(Mneme({"plan", "--model", kModel, "--ranks=65"}).err,
              HasSubstr("--ranks: 65 is not in [0, 64]"));
}

TEST(PlanTest, AnyClusterIsPlanned) {
  const Outcome text = Mneme({"plan", "--shape=ultramem-1b-7b", "--layers=4", "--cluster=64xh100"});
  EXPECT_EQ(text.exit_status, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("on 64xh100: nodes 8 x devices 8, device cuda"));
  EXPECT_THAT(text.out, HasSubstr("prefill of 512 predicted"));
  EXPECT_EQ(text.out.find("block.0.attention "), std::string::npos);
  const Outcome explained =
      Mneme({"plan", "--model", kModel, "--cluster=2xcpu", "--explain", "--max-model-len=256"});
  EXPECT_THAT(explained.out, HasSubstr("block.0.attention "));
  const Outcome json = Mneme({"plan", "--shape=ultramem-2.5b-120b", "--cluster=8xh100", "--json"});
  ASSERT_EQ(json.exit_status, 0) << json.err;
  EXPECT_LT(Json::parse(json.out)["memory"]["weight_bytes"], 80e9);
  const std::string page = ::testing::TempDir() + "/plan.html";
  EXPECT_EQ(Mneme({"plan", "--model", kModel, "--html", page}).err, "");
  std::ifstream file(page);
  std::string line;
  std::getline(file, line);
  EXPECT_EQ(line, "<!doctype html>");
}

TEST(PlanTest, WhatDoesNotFitOrRunIsRefused) {
  const Outcome large = Mneme({"plan", "--shape=ultramem-2.5b-120b", "--cluster=1xh100"});
  EXPECT_EQ(large.exit_status, kExitFailed);
  EXPECT_THAT(large.err, HasSubstr("RESOURCE_EXHAUSTED: ultramem-2.5b-120b on 1xh100: no plan "
                                   "fits: a rank would hold at least 2"));
  EXPECT_THAT(large.err, HasSubstr("on 1 rank, there are 80000000000"));
  EXPECT_THAT(Mneme({"bench", "model", "--model", kModel, "--cluster=2xh100"}).err,
              HasSubstr("the cluster 2xh100 has ranks of cuda"));
  EXPECT_THAT(Mneme({"serve", "--model", kModel, "--cluster=no.file"}).err,
              HasSubstr("--cluster: there is no cluster 'no.file'"));
  EXPECT_THAT(Mneme({"plan", "--check", "--json"}).err,
              HasSubstr("--check does not go with --json"));
  EXPECT_THAT(Mneme({"plan", "--proto", "--html=x"}).err,
              HasSubstr("--proto does not go with --html"));
  EXPECT_THAT(Mneme({"plan", "--check", "--proto"}).err,
              HasSubstr("--check does not go with --proto"));
  EXPECT_THAT(Mneme({"plan", "--check", "--cluster=2xcpu"}).err,
              HasSubstr("--check: calibrates by itself"));
}

// Whoever executes plans says which grid it cannot execute, before it reads a weight.
TEST(PlanTest, TwoAxesArePlannedButNotRun) {
  const std::string grid = ::testing::TempDir() + "/grid.json";
  Json json = {{"name", "two hosts"}, {"device", "cpu"}, {"shared_memory", false}};
  for (const auto& [name, ranks] : {std::pair("hosts", 2), std::pair("cores", 3)}) {
    json["axes"].push_back({{"name", name},
                            {"ranks", ranks},
                            {"bytes_per_second", 1e9},
                            {"seconds", 1e-5},
                            {"seconds_per_rank", 0}});
  }
  json["memory"].push_back(
      {{"kind", "dram"}, {"bytes", 0}, {"bytes_per_second", 1e10}, {"row_seconds", 1e-7}});
  json["arithmetic"].push_back({{"rows", 1}, {"bf16_flops", 1e11}, {"f32_flops", 1e11}});
  std::ofstream(grid) << json.dump();
  const Outcome planned = Mneme({"plan", "--model", kModel, "--cluster", grid});
  EXPECT_EQ(planned.exit_status, 0) << planned.err;
  EXPECT_THAT(planned.out, HasSubstr("on two hosts: hosts 2 x cores 3, device cpu"));
  for (const auto& [cluster, refusal] :
       {std::pair(std::string("64xh100"),
                  "the cluster 64xh100 has two axes, nodes of 8 and devices of 8"),
        std::pair(grid, "the cluster two hosts has two axes, hosts of 2 and cores of 3")}) {
    const std::vector<std::vector<std::string>> kRuns = {
        {"serve"},
        {"bench", "model"},
        {"eval", "--window=16", "--perplexity", grid},
        {"plan", "--proto"}};
    for (std::vector<std::string> run : kRuns) {
      run.insert(run.end(), {"--model", kModel, "--cluster", cluster});
      const Outcome outcome = Mneme(run);
      EXPECT_EQ(outcome.exit_status, kExitFailed) << run[0];
      EXPECT_THAT(outcome.err, HasSubstr("UNIMPLEMENTED: ")) << run[0];
      EXPECT_THAT(outcome.err, HasSubstr(refusal)) << run[0];
    }
  }
}

TEST(PlanTest, PinsHoldOnAnyCluster) {
  const auto plan = [](std::vector<std::string> pins) {
    std::vector<std::string> arguments = {"plan", "--shape=ultramem-1b-7b", "--layers=4",
                                          "--cluster=8xh100", "--json"};
    arguments.insert(arguments.end(), pins.begin(), pins.end());
    return Mneme(arguments);
  };
  const auto layouts = [&](const std::vector<std::string>& pins, const std::string& kind) {
    const Outcome outcome = plan(pins);
    EXPECT_EQ(outcome.exit_status, 0) << outcome.err;
    std::set<std::string> found;
    const Json report = Json::parse(outcome.out);
    for (const Json& op : report["operators"]) {
      if (op["kind"] == kind) found.insert(op["layout"].get<std::string>());
    }
    return found;
  };
  using Set = std::set<std::string>;
  EXPECT_EQ(layouts({"--table-layout=rows"}, "value_gather"), Set{"(B, B, B, B, S(0)) -> P"});
  // Columns are divided where the pre-scores are operators of their own.
  EXPECT_EQ(layouts({"--table-layout=columns"}, "pre_score"), Set{"(B, B, S(1)) -> P"});
  EXPECT_EQ(layouts({"--layout", "block.*.ffn.up=(B, B) -> B"}, "activation"), Set{"(B, B) -> B"});
  EXPECT_THAT(plan({"--layout", "block.*.ffn.up=(P, B) -> S(1)"}).err,
              HasSubstr("INVALID_ARGUMENT: operator block.0.ffn.up cannot have layout "
                        "'(P, B) -> S(1)' on 8 ranks; possible: "));
  EXPECT_THAT(plan({"--layout", "no.such=B -> B"}).err,
              HasSubstr("is for an operator 'no.such', which the model does not have"));
  // Each is possible, but not both.
  EXPECT_THAT(plan({"--layout", "memory.0.prefetch=(B, S(0)) -> ()", "--layout",
                    "memory.0.gather=(B, B, B, B, B) -> B"})
                  .err,
              HasSubstr("INVALID_ARGUMENT: "));
}

TEST(CalibrateTest, WritesAClusterThatPlansAreMadeFor) {
  const std::string path = ::testing::TempDir() + "/machine.json";
  const Outcome outcome =
      Mneme({"calibrate", "--ranks=2", "--megabytes=8", "--passes=1", "--out", path});
  ASSERT_EQ(outcome.exit_status, 0) << outcome.err;
  EXPECT_THAT(Mneme({"plan", "--model", kModel, "--cluster", path}).out,
              HasSubstr("on 2xcpu calibrated: cores 2, device cpu"));
  const Outcome bench = Mneme({"bench", "model", "--model", kModel, "--cluster", path, "--ranks=2",
                               "--batch=1", "--prefill=0", "--steps=1"});
  EXPECT_THAT(bench.out, HasSubstr("2 ranks, context 128"));
}

TEST(TokenizeTest, AnswersEachLineAndGoesOnAfterABadOne) {
  const Outcome outcome = Mneme({"tokenize", "--tokenizer", kModel, "--json"},
                                "{\"text\": \"hacker: n.\", \"add_special\": true}\n"
                                "not json\n"
                                "{\"text\": 5}\n"
                                "{\"text\": \"\\ud800\"}\n"
                                "{\"text\": \"LOVE, n.\"}\n");
  EXPECT_EQ(outcome.exit_status, kExitFailed);
  std::istringstream lines(outcome.out);
  std::vector<Json> answers;
  for (std::string line; std::getline(lines, line);) answers.push_back(Json::parse(line));
  ASSERT_EQ(answers.size(), 5u);
  EXPECT_EQ(answers[0], Json::parse("{\"ids\": [3349, 59, 292, 47]}"));
  EXPECT_TRUE(answers[1].contains("error"));
  EXPECT_TRUE(answers[2].contains("error"));
  EXPECT_TRUE(answers[3].contains("error"));
  EXPECT_EQ(answers[4]["ids"], Json::parse("[77, 80, 87, 70, 45, 292, 47]"));
}

TEST(DetokenizeTest, IsTheInverse) {
  const Outcome outcome = Mneme({"detokenize", "--tokenizer", kModel, "--json"},
                                "{\"ids\": [3349, 59, 292, 47, 0], \"skip_special\": true}\n"
                                "{\"ids\": [3349, 0], \"skip_special\": false}\n");
  EXPECT_EQ(outcome.exit_status, 0) << outcome.err;
  EXPECT_EQ(outcome.out, "{\"text\":\"hacker: n.\"}\n{\"text\":\"hacker<|endoftext|>\"}\n");
  const Outcome bad = Mneme({"detokenize", "--tokenizer", kModel, "--json"},
                            "{\"ids\": [-1]}\n{\"ids\": [1.5]}\n{\"ids\": [4294967296]}\n");
  EXPECT_EQ(bad.exit_status, kExitFailed);
  EXPECT_THAT(bad.out, HasSubstr("\"error\":\"ids: -1 is not a token id\""));
  EXPECT_THAT(bad.out, HasSubstr("1.5 is not a token id"));
  EXPECT_THAT(bad.out, HasSubstr("4294967296 is not a token id"));
}

TEST(DetokenizeTest, StreamsPiecesBehindAPrompt) {
  const Outcome outcome = Mneme({"detokenize", "--tokenizer", kModel, "--json"},
                                "{\"ids\": [3349, 59, 292, 47], \"stream\": true}\n"
                                "{\"ids\": [3349, 59, 292], \"stream\": true, \"context\": 2}\n"
                                "{\"ids\": [3349], \"stream\": true, \"context\": 2}\n"
                                "{\"ids\": [3349], \"context\": 1}\n"
                                "{\"ids\": [3349], \"stream\": 1}\n");
  EXPECT_EQ(outcome.exit_status, kExitFailed);
  EXPECT_EQ(outcome.out,
            "{\"pieces\":[\"hacker\",\":\",\" n\",\".\",\"\"]}\n"
            "{\"pieces\":[\" n\",\"\"]}\n"
            "{\"error\":\"context: 2 is not in [0, 1], or without stream\"}\n"
            "{\"error\":\"context: 1 is not in [0, 1], or without stream\"}\n"
            "{\"error\":\"stream: neither true nor false\"}\n");
}

TEST(TokenizeTest, PlainLines) {
  EXPECT_EQ(Mneme({"tokenize", "--tokenizer", kModel}, "hacker: n.\n").out, "3349 59 292 47\n");
  EXPECT_EQ(Mneme({"detokenize", "--tokenizer", kModel}, "3349 59 292 47\n").out, "hacker: n.\n");
  EXPECT_EQ(Mneme({"tokenize"}).exit_status, kExitUsage);
  const Outcome missing = Mneme({"tokenize", "--tokenizer", "no/such/dir"});
  EXPECT_EQ(missing.exit_status, kExitFailed);
  EXPECT_THAT(missing.err, HasSubstr("NOT_FOUND"));
}

TEST(InspectTest, SaysWhatTheDemoModelHolds) {
  const Outcome outcome = Mneme({"inspect", "--model", kModel, "--json"});
  ASSERT_EQ(outcome.exit_status, 0) << outcome.err;
  const Json json = Json::parse(outcome.out);
  EXPECT_EQ(json["name"], "ultramem");
  EXPECT_EQ(json["architecture"], "ultramem_v2");
  EXPECT_EQ(json["parameters"], 10730288);
  EXPECT_EQ(json["classes"]["value_rows"]["elements"], 24576 * 192);
  EXPECT_EQ(json["memory"]["layers"].size(), 6u);
  EXPECT_EQ(json["tokenizer_entries"], 4096);
  EXPECT_TRUE(json["refused"].is_null());
  EXPECT_EQ(json["generation"], Json::object());
  const Outcome text = Mneme({"inspect", "--model", kModel});
  EXPECT_THAT(text.out, HasSubstr("ultramem: ultramem_v2, 10730288 parameters"));
  EXPECT_THAT(text.out, HasSubstr("value_rows"));
}

TEST(InspectTest, SaysHowTextsAreMeantToBeGenerated) {
  const std::string directory = DemoCopy("generation", R"({
      "temperature": 0.7, "top_p": 0.95, "top_k": 20, "min_p": 0.1, "repetition_penalty": 1.05,
      "max_new_tokens": 64, "eos_token_id": [0, 7], "num_beams": 2})");
  const Outcome outcome = Mneme({"inspect", "--model", directory, "--json"});
  ASSERT_EQ(outcome.exit_status, 0) << outcome.err;
  const Json json = Json::parse(outcome.out);
  EXPECT_EQ(json["generation"].dump(),
            R"({"max_new_tokens":64,"min_p":0.1,"repetition_penalty":1.05,"temperature":0.7,)"
            R"("top_k":20,"top_p":0.95})");
  EXPECT_EQ(json["model"]["eos_token_ids"], Json({0, 7}));
  EXPECT_EQ(json["warnings"].size(), 1u);
  const Outcome text = Mneme({"inspect", "--model", directory});
  EXPECT_THAT(text.out, HasSubstr("generation defaults: temperature 0.7, top_p 0.95, top_k 20, "
                                  "min_p 0.1, repetition_penalty 1.05, max_new_tokens 64\n"
                                  "end of sequence: [0,7]\n"));
  EXPECT_THAT(text.out, HasSubstr("warning: generation_config.json sets what is not served: "
                                  "num_beams 2; texts are generated without.\n"));
  const std::string bad = DemoCopy("generation_refused", R"({"top_p": 7})");
  EXPECT_THAT(Mneme({"inspect", "--model", bad}).err,
              HasSubstr(bad + "/generation_config.json: top_p: 7 is not in (0, 1]"));
}

TEST(InspectTest, SaysWhyACheckpointIsRefused) {
  const std::string directory = ::testing::TempDir() + "/refused";
  ASSERT_EQ(std::system(("mkdir -p " + directory).c_str()), 0);
  std::ofstream(directory + "/config.yaml") << "model:\n  alibi: true\n  rope: false\n";
  const Outcome outcome = Mneme({"inspect", "--model", directory, "--json"});
  EXPECT_EQ(outcome.exit_status, kExitFailed);
  const Json json = Json::parse(outcome.out);
  EXPECT_THAT(json["refused"].get<std::string>(), HasSubstr("config.yaml"));
  EXPECT_THAT(outcome.err, HasSubstr("mneme inspect: "));
}

TEST(PlanTest, ExplainsTheDemoModel) {
  const Outcome outcome = Mneme({"plan", "--model", kModel, "--explain"});
  ASSERT_EQ(outcome.exit_status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("attention"));
  const Outcome proto = Mneme({"plan", "--model", kModel, "--proto"});
  EXPECT_THAT(proto.out, HasSubstr("architecture: \"ultramem_v2\""));
}

TEST(EvalTest, SaysWhatIsMissing) {
  EXPECT_EQ(Mneme({"eval"}).err, "mneme eval: --model is needed\n");
  EXPECT_EQ(Mneme({"eval", "--model", kModel}).err,
            "mneme eval: either --ids and --out, or --perplexity is needed\n");
  EXPECT_EQ(Mneme({"eval", "--model", kModel, "--ids", "x"}).err,
            "mneme eval: --ids and --out belong together\n");
  const Outcome outcome = Mneme({"eval", "--model", kModel, "--ids", "no.file", "--out", "x"});
  EXPECT_EQ(outcome.exit_status, kExitFailed);
  EXPECT_THAT(outcome.err, HasSubstr("no.file"));
}

TEST(GenerateTest, SaysWhenNoServerAnswers) {
  const Outcome outcome = Mneme({"generate", "hi", "--server", "127.0.0.1:1"});
  EXPECT_EQ(outcome.exit_status, kExitFailed);
  EXPECT_THAT(outcome.err, HasSubstr("UNAVAILABLE: no server answers at 127.0.0.1:1"));
  EXPECT_EQ(Mneme({"generate"}).exit_status, kExitFailed);
  EXPECT_EQ(Mneme({"generate", "a", "--server=x:1", "--model=y"}).exit_status, kExitUsage);
}

}  // namespace
}  // namespace mneme::cli
