// Speed of encoding and decoding on this machine, for each kind of pipeline.
//
//   bazel run //loader/tokenizer:tokenizer_bench
//
// Encode: MB/s of input, of 1 MB of English, of 1 MB as one word, and of 1 MB of blanks. Decode:
// tokens/s of a stream. Load: ms for the largest file.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

#include "loader/tokenizer/tokenizer.h"

namespace mneme::loader {
namespace {

constexpr size_t kTextBytes = 1'000'000;

std::string Repeated(std::string_view part) {
  std::string text;
  while (text.size() < kTextBytes) text += part;
  return text;
}

std::string English() {
  return Repeated(
      "hacker: n. [originally, someone who makes furniture with an axe] A person who enjoys "
      "exploring the details of programmable systems and how to stretch their capabilities, as "
      "opposed to most users, who prefer to learn only the minimum necessary. It's 1984's 2nd "
      "definition; don't ask \"why?\"\n\n");
}

// Letters without a period, so that merges do not repeat.
std::string OneWord() {
  std::string text;
  uint32_t state = 1;
  while (text.size() < kTextBytes) {
    state = state * 1664525 + 1013904223;
    text.push_back("etaoinshrdlucmfwypvbgkqjxz"[(state >> 16) % 26]);
  }
  return text;
}

std::unique_ptr<Tokenizer> LoadFolder(const std::string& name) {
  auto tokenizer = Tokenizer::Load("loader/tokenizer/testdata/" + name);
  if (!tokenizer.ok()) return nullptr;
  return *std::move(tokenizer);
}

void BM_Load(benchmark::State& state, const std::string& folder) {
  for (auto _ : state) benchmark::DoNotOptimize(LoadFolder(folder));
}

void BM_Encode(benchmark::State& state, const std::string& folder, const std::string& text) {
  const std::unique_ptr<Tokenizer> tokenizer = LoadFolder(folder);
  if (tokenizer == nullptr) return state.SkipWithError("no such folder");
  int64_t tokens = 0;
  for (auto _ : state) {
    const auto ids = tokenizer->Encode(text, false);
    if (!ids.ok()) return state.SkipWithError(std::string(ids.status().message()).c_str());
    tokens = static_cast<int64_t>(ids->size());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(text.size()));
  state.counters["bytes_per_token"] =
      static_cast<double>(text.size()) / static_cast<double>(tokens);
}

void BM_DecodeStream(benchmark::State& state, const std::string& folder) {
  const std::unique_ptr<Tokenizer> tokenizer = LoadFolder(folder);
  if (tokenizer == nullptr) return state.SkipWithError("no such folder");
  const auto ids = tokenizer->Encode(English(), false);
  if (!ids.ok()) return state.SkipWithError("not encoded");
  std::string out;
  for (auto _ : state) {
    StreamDecoder decoder(tokenizer.get(), false);
    for (const int32_t id : *ids) {
      out.clear();
      decoder.Append(id, &out);
      benchmark::DoNotOptimize(out.data());
    }
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(ids->size()));
}

const char* const kFolders[] = {"demo",       "olmo_gpt_neox",   "llama3",           "qwen2",
                                "llama2",     "metaspace_first", "metaspace_always", "deepseek_llm",
                                "deepseek_v3"};

void RegisterAll() {
  const auto add = [](const std::string& name, auto function, auto... arguments) {
    benchmark::RegisterBenchmark(name.c_str(), function, arguments...)
        ->Unit(benchmark::kMillisecond);
  };
  add("Load/olmo_gpt_neox", BM_Load, std::string("olmo_gpt_neox"));
  for (const std::string folder : kFolders) {
    add("Encode/english/" + folder, BM_Encode, folder, English());
    add("Encode/one_word/" + folder, BM_Encode, folder, OneWord());
    add("Encode/one_letter/" + folder, BM_Encode, folder, std::string(kTextBytes, 'a'));
    add("Encode/blanks/" + folder, BM_Encode, folder, std::string(kTextBytes, ' ') + "x");
    add("DecodeStream/" + folder, BM_DecodeStream, folder);
  }
}

}  // namespace
}  // namespace mneme::loader

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  mneme::loader::RegisterAll();
  benchmark::RunSpecifiedBenchmarks();
}
