// The whole engine over a real model: many requests at once, with cancels and with too few KV
// blocks, give bit for bit what each gives alone, and leave no block behind.

#include "engine/serving.h"

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace mneme {
namespace {

using std::chrono::milliseconds;

// What one choice said: tokens and their log-probabilities, compared bit for bit.
struct Said {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
  FinishReason finish = FinishReason::kNone;
  bool operator==(const Said&) const = default;
};

// Reads a generation to its end.
class Reader : public EventListener {
 public:
  void OnEvents() override {
    std::lock_guard lock(mutex_);
    ready_ = true;
    wake_.notify_one();
  }

  // Cancels once `cancel_after` tokens have come (-1: never); reads slowly when `pause` is set.
  std::vector<Said> ReadAll(Generation* generation, int n, int cancel_after,
                            milliseconds pause = milliseconds(0)) {
    std::vector<Said> said(n);
    int tokens = 0;
    while (!generation->done()) {
      OutputEvent event;
      if (generation->Pop(&event)) {
        Said& choice = said[event.choice];
        if (event.kind == OutputEvent::Kind::kToken) {
          choice.tokens.push_back(event.token_id);
          choice.logprobs.push_back(event.logprob);
          if (++tokens == cancel_after) generation->Cancel();
          if (pause.count() > 0) std::this_thread::sleep_for(pause);
        } else if (event.kind == OutputEvent::Kind::kFinish) {
          choice.finish = event.finish;
        }
        continue;
      }
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, milliseconds(200), [&] { return ready_; });
      ready_ = false;
    }
    return said;
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ready_ = false;
};

std::unique_ptr<Serving> Serve(const std::string& name, int64_t kv_cache_bytes,
                               int32_t step_tokens = 48) {
  ServingOptions options;
  options.model_directory = "tests/golden/" + name;
  options.max_step_tokens = step_tokens;
  options.max_sequences = 16;
  options.kv_cache_bytes = kv_cache_bytes;
  absl::StatusOr<std::unique_ptr<Serving>> serving = Serving::Create(options);
  EXPECT_TRUE(serving.ok()) << serving.status();
  return serving.ok() ? *std::move(serving) : nullptr;
}

GenerateRequest RandomRequest(int seed) {
  std::mt19937 random(seed);
  GenerateRequest request;
  request.id = std::to_string(seed);
  const int length = 1 + static_cast<int>(random() % 80);
  // Some prompts begin alike, so that the prefix cache has work.
  std::mt19937 prompt(random() % 3 == 0 ? 1 : seed);
  for (int i = 0; i < length; ++i) request.prompt.push_back(static_cast<int32_t>(prompt() % 200));
  request.max_tokens = 1 + static_cast<int>(random() % 40);
  request.ignore_eos = true;
  request.logprobs = 0;
  request.n = 1 + static_cast<int>(random() % 3);
  request.sampling.seed = seed;
  request.sampling.temperature = random() % 3 == 0 ? 0.0f : 1.0f;
  if (random() % 2 == 0) request.sampling.top_p = 0.9f;
  if (random() % 2 == 0) request.sampling.repetition_penalty = 1.2f;
  return request;
}

std::vector<Said> Alone(Serving* serving, const GenerateRequest& request) {
  Reader reader;
  auto generation = serving->engine().Generate(request, &reader);
  EXPECT_TRUE(generation.ok()) << generation.status();
  return reader.ReadAll(generation->get(), request.n, -1);
}

// The blocks come back after the last event: the step that freed them may still be settling.
void ExpectAllBlocksFree(Serving* serving) {
  for (int i = 0; i < 200; ++i) {
    const EngineStats stats = serving->engine().stats();
    if (stats.kv_blocks_free == stats.kv_blocks_total && stats.requests_running == 0) return;
    std::this_thread::sleep_for(milliseconds(10));
  }
  const EngineStats stats = serving->engine().stats();
  EXPECT_EQ(stats.kv_blocks_free, stats.kv_blocks_total);
  EXPECT_EQ(stats.requests_running, 0);
}

class ServingTest : public ::testing::TestWithParam<std::string> {};

TEST_P(ServingTest, ManyAtOnceGiveWhatEachGivesAlone) {
  constexpr int kRequests = 64;
  std::vector<std::vector<Said>> expected;
  int64_t block_bytes = 0;
  {
    auto roomy = Serve(GetParam(), 0, /*step_tokens=*/16);
    ASSERT_NE(roomy, nullptr);
    for (int i = 0; i < kRequests; ++i) {
      expected.push_back(Alone(roomy.get(), RandomRequest(i)));
      for (const Said& said : expected.back()) EXPECT_EQ(said.finish, FinishReason::kLength);
    }
    block_bytes = 0;
    for (const v1::KvCache& cache : roomy->plan().kv_caches()) block_bytes += cache.bytes();
    block_bytes /= roomy->plan().limits().kv_blocks();
  }
  // 12 blocks of 16 positions: at most one and a half of the longest requests.
  auto tight = Serve(GetParam(), 12 * block_bytes);
  ASSERT_NE(tight, nullptr);
  std::vector<std::thread> threads;
  std::vector<std::vector<Said>> got(kRequests);
  std::vector<int> cancel_after(kRequests, -1);
  std::mt19937 random(11);
  for (int i = 0; i < kRequests; ++i) {
    if (random() % 4 == 0) cancel_after[i] = 1 + static_cast<int>(random() % 10);
  }
  for (int i = 0; i < kRequests; ++i) {
    threads.emplace_back([&, i] {
      Reader reader;
      const GenerateRequest request = RandomRequest(i);
      auto generation = tight->engine().Generate(request, &reader);
      ASSERT_TRUE(generation.ok()) << generation.status();
      got[i] = reader.ReadAll(generation->get(), request.n, cancel_after[i]);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (int i = 0; i < kRequests; ++i) {
    ASSERT_EQ(got[i].size(), expected[i].size());
    for (size_t c = 0; c < got[i].size(); ++c) {
      if (got[i][c].finish == FinishReason::kCancelled) {
        // What came before the cancel is a prefix.
        ASSERT_LE(got[i][c].tokens.size(), expected[i][c].tokens.size());
        Said prefix = expected[i][c];
        prefix.tokens.resize(got[i][c].tokens.size());
        prefix.logprobs.resize(got[i][c].tokens.size());
        prefix.finish = FinishReason::kCancelled;
        EXPECT_EQ(got[i][c], prefix) << "request " << i << " choice " << c;
        EXPECT_NE(cancel_after[i], -1);
      } else {
        EXPECT_EQ(got[i][c], expected[i][c]) << "request " << i << " choice " << c;
      }
    }
  }
  EXPECT_GT(tight->engine().stats().preemptions_total, 0);
  ExpectAllBlocksFree(tight.get());
}

INSTANTIATE_TEST_SUITE_P(Cases, ServingTest,
                         ::testing::Values("ultramem_v2", "ultramem_v1_skip", "memory_plus"),
                         [](const auto& info) { return info.param; });

TEST(ServingTrafficTest, RequestsSumToTheSteps) {
  auto serving = Serve("ultramem_v2", 0);
  ASSERT_NE(serving, nullptr);
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::array<double, kernels::kTrafficClasses> read{};
  std::array<double, kernels::kTrafficClasses> written{};
  for (int i = 0; i < 12; ++i) {
    threads.emplace_back([&, i] {
      Reader reader;
      const GenerateRequest request = RandomRequest(i);
      auto generation = serving->engine().Generate(request, &reader);
      ASSERT_TRUE(generation.ok()) << generation.status();
      reader.ReadAll(generation->get(), request.n, -1);
      std::lock_guard lock(mutex);
      const RequestUsage usage = (*generation)->usage();
      for (int c = 0; c < kernels::kTrafficClasses; ++c) {
        read[c] += usage.read_bytes[c];
        written[c] += usage.written_bytes[c];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  const EngineStats stats = serving->engine().stats();
  double written_in_all = 0;
  for (int c = 0; c < kernels::kTrafficClasses; ++c) {
    const double total_read = static_cast<double>(stats.traffic_total.read_bytes[c]);
    EXPECT_NEAR(read[c], total_read, 1e-9 * total_read + 1) << c;
    const double total_written = static_cast<double>(stats.traffic_total.written_bytes[c]);
    EXPECT_NEAR(written[c], total_written, 1e-9 * total_written + 1) << c;
    written_in_all += total_written;
  }
  EXPECT_GT(written_in_all, 0);
}

TEST(ServingWarningTest, ATokenizerWithMoreEntriesThanTheModelIsNamed) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / "wide";
  std::filesystem::create_directories(folder);
  for (const auto& entry : std::filesystem::directory_iterator("tests/golden/dense")) {
    std::filesystem::copy_file(entry.path(), folder / entry.path().filename(),
                               std::filesystem::copy_options::overwrite_existing);
  }
  ServingOptions options;
  options.model_directory = folder.string();
  for (const int highest : {255, 256}) {
    std::ofstream(folder / "tokenizer.json")
        << R"({"version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null,)"
        << R"("post_processor": null, "decoder": null, "model": {"type": "BPE", "merges": [],)"
        << R"("vocab": {"a": 0, "b": )" << highest << "}}}";
    const auto serving = Serving::Create(options);
    ASSERT_TRUE(serving.ok()) << serving.status();
    const loader::ModelDescription& model = (*serving)->checkpoint().model;
    ASSERT_EQ(model.vocab_size, 256);
    ASSERT_EQ(model.warnings.size(), highest == 256 ? 1u : 0u);
    if (highest == 256) {
      EXPECT_EQ(model.warnings[0],
                "The tokenizer has ids up to 256, but the model's vocabulary has 256 entries; a "
                "text that needs an id beyond is refused.");
    }
  }
}

TEST(ServingErrorTest, AFolderWithoutAModelIsRefusedByName) {
  ServingOptions options;
  options.model_directory = "tests/golden/nothing_here";
  const absl::Status status = Serving::Create(options).status();
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.message().find("nothing_here"), std::string::npos) << status;
}

TEST(ServingErrorTest, OptionsThatMakeNoSenseAreRefusedByName) {
  ServingOptions options;
  options.model_directory = "tests/golden/dense";
  options.kv_block_tokens = 20;
  EXPECT_NE(Serving::Create(options).status().message().find("kv_block_tokens is 20"),
            std::string::npos);
  options.kv_block_tokens = 16;
  options.max_sequences = 0;
  EXPECT_NE(Serving::Create(options).status().message().find("max_sequences is 0"),
            std::string::npos)
      << Serving::Create(options).status();
}

}  // namespace
}  // namespace mneme
