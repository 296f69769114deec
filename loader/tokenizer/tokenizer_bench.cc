// Speed of encoding and decoding on this machine, for each kind of pipeline.
//
//   bazel run //loader/tokenizer:tokenizer_bench
//
// Encode: ms and MB/s for 1 MB of English, of source and other scripts, of one word (random
// letters; one letter), of blanks (to the end; before a sign) and of digits. Decode: tokens/s of a
// stream. Load: ms for the largest file.
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

// Source text, markup and other scripts.
std::string Mixed() {
  return Repeated(
      "for (int i = 0; i < 10; ++i) {\n\tx[i] += 3.14159e-10;  // \xE2\x86\x92 sum\n}\r\n"
      "<p class=\"a\">\xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82, \xD0\xBC\xD0\xB8\xD1\x80!"
      "</p> \xE4\xBD\xA0\xE5\xA5\xBD\xEF\xBC\x8C\xE4\xB8\x96\xE7\x95\x8C\xE3\x80\x82 "
      "\xE0\xA4\xA8\xE0\xA4\xAE\xE0\xA4\xB8\xE0\xA5\x8D\xE0\xA4\xA4\xE0\xA5\x87 "
      "cafe\xCC\x81 na\xC3\xAFve \xF0\x9F\x99\x82\n");
}

// Characters of an alphabet without a period, so that merges do not repeat.
std::string Letters(std::string_view alphabet) {
  std::string text;
  uint32_t state = 1;
  while (text.size() < kTextBytes) {
    state = state * 1664525 + 1013904223;
    text.push_back(alphabet[(state >> 16) % alphabet.size()]);
  }
  return text;
}

std::string OneWord() { return Letters("etaoinshrdlucmfwypvbgkqjxz"); }

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

const char* const kFolders[] = {
    "demo",         "olmo_gpt_neox",   "llama3",           "qwen2",
    "llama2",       "metaspace_first", "metaspace_always", "gpt_neox",
    "deepseek_llm", "deepseek_v3",     "added_tokens",     "added_tokens_prepend"};

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
    add("Encode/blanks/" + folder, BM_Encode, folder, std::string(kTextBytes, ' '));
    add("Encode/blanks_and_sign/" + folder, BM_Encode, folder,
        std::string(kTextBytes, ' ') + "\xF0\x9F\x99\x82");
    add("Encode/digits/" + folder, BM_Encode, folder, Letters("0123456789"));
    add("Encode/mixed/" + folder, BM_Encode, folder, Mixed());
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
