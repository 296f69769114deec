#include "engine/soak.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <random>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/ranks/process_executor.h"
#include "engine/serving_load.h"
#include "gtest/gtest.h"

namespace mneme::testing {
namespace {

using std::chrono::milliseconds;

constexpr int kClients = 8;
constexpr int64_t kWarmUpSteps = 40;

// "socket:[4711]" without what differs from one to the next.
std::string WithoutNumbers(std::string text) {
  text.erase(std::remove_if(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }),
             text.end());
  return text;
}

template <class Done>
bool Soon(Done done) {
  for (int i = 0; i < 1000; ++i) {
    if (done()) return true;
    std::this_thread::sleep_for(milliseconds(10));
  }
  return done();
}

// Gets hold of the executor.
class Observer : public StepObserver {
 public:
  void OnStep(const runtime::Step&, const runtime::StepResult&, const runtime::Executor& executor,
              std::span<const std::string_view>) override {
    executor_.store(&executor);
  }
  const runtime::Executor* executor() const { return executor_.load(); }

 private:
  std::atomic<const runtime::Executor*> executor_{nullptr};
};

// Requests one after the other until the engine has run so many steps.
void RunClient(Engine* engine, int64_t steps, uint32_t seed) {
  std::mt19937 random(seed);
  while (engine->stats().steps_total < steps) {
    const GenerateRequest request = RandomRequest(random());
    Reader reader;
    auto generation = engine->Generate(request, &reader);
    ASSERT_TRUE(generation.ok()) << generation.status();
    const int some = 1 + static_cast<int>(random() % 20);
    switch (random() % 5) {
      case 0:
        reader.ReadAll(generation->get(), request.n, some);
        break;
      case 1:
        (*generation)->Cancel();
        reader.ReadAll(generation->get(), request.n, -1);
        break;
      case 2:  // dropped
        if (reader.ReadTokens(generation->get(), some) == Reader::Stopped::kTokens) continue;
        break;
      default:
        reader.ReadAll(generation->get(), request.n, -1);
    }
    ASSERT_TRUE((*generation)->done());
    ASSERT_TRUE((*generation)->status().ok()) << (*generation)->status();
  }
}

void RunClients(Engine* engine, int64_t steps, uint32_t seed) {
  std::vector<std::thread> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.emplace_back([=] { RunClient(engine, steps, seed * kClients + i); });
  }
  for (std::thread& client : clients) client.join();
}

std::vector<pid_t> Processes(const runtime::Executor& executor, int32_t ranks) {
  std::vector<pid_t> all = {getpid()};
  const auto* processes = dynamic_cast<const ranks::ProcessExecutor*>(&executor);
  for (int32_t r = 1; processes != nullptr && r < ranks; ++r) {
    all.push_back(processes->process_id(r));
  }
  return all;
}

}  // namespace

Resources ResourcesOf(pid_t pid) {
  const std::filesystem::path process = std::filesystem::path("/proc") / std::to_string(pid);
  Resources resources;
  std::error_code gone;  // the listing's own descriptor, and what closes meanwhile
  for (const auto& entry : std::filesystem::directory_iterator(process / "fd", gone)) {
    const std::filesystem::path target = std::filesystem::read_symlink(entry.path(), gone);
    if (!gone) resources.descriptors.push_back(WithoutNumbers(target.string()));
  }
  std::sort(resources.descriptors.begin(), resources.descriptors.end());
  for (const auto& entry : std::filesystem::directory_iterator(process / "task", gone)) {
    static_cast<void>(entry);
    ++resources.threads;
  }
  return resources;
}

std::string ToString(const Resources& resources) {
  return absl::StrCat(resources.threads, " threads, ", resources.descriptors.size(),
                      " descriptors: ", absl::StrJoin(resources.descriptors, " "));
}

void ExpectResources(pid_t pid, const Resources& before) {
  const auto held = [&] {
    const Resources now = ResourcesOf(pid);
    return now.descriptors == before.descriptors && now.threads <= before.threads;
  };
  EXPECT_TRUE(Soon(held)) << "process " << pid << "\nbefore: " << ToString(before)
                          << "\nnow: " << ToString(ResourcesOf(pid));
}

bool NoChildIsLeft() { return waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD; }

int64_t Soak(const SoakOptions& options) {
  Observer observer;
  ServingOptions serving_options = options.serving;
  serving_options.schedule.observer = &observer;
  absl::StatusOr<std::unique_ptr<Serving>> serving = Serving::Create(serving_options);
  EXPECT_TRUE(serving.ok()) << serving.status();
  if (!serving.ok()) return options.steps;
  Engine& engine = (*serving)->engine();
  const auto expect_idle = [&] {
    ExpectIdle(engine);
    EXPECT_TRUE(Soon([&] { return observer.executor()->credits_out() == 0; }))
        << observer.executor()->credits_out() << " credits";
  };
  RunClients(&engine, kWarmUpSteps, options.seed);
  expect_idle();
  const std::vector<pid_t> processes =
      Processes(*observer.executor(), (*serving)->plan().cluster().ranks());
  std::vector<Resources> before;
  for (pid_t pid : processes) before.push_back(ResourcesOf(pid));
  RunClients(&engine, options.steps, options.seed + 1);
  expect_idle();
  for (size_t i = 0; i < processes.size(); ++i) ExpectResources(processes[i], before[i]);
  const EngineStats stats = engine.stats();
  // Nobody was started again.
  EXPECT_EQ(observer.executor()->state().generation, options.serving.process.processes > 1 ? 1 : 0);
  std::cout << "  " << stats.steps_total << " steps, " << stats.requests_total << " requests, "
            << stats.preemptions_total << " preemptions" << std::endl;
  return stats.steps_total;
}

void SoakInEpisodes(const EpisodeOptions& options) {
  using Pins = plan::LayoutPins;
  std::cout << "seed " << options.seed << ", " << options.steps << " steps" << std::endl;
  std::mt19937 random(options.seed);
  // With a process's first thread ThreadSanitizer starts one of its own, which stays.
  std::thread([] {}).join();
  const Resources before = ResourcesOf(getpid());
  EXPECT_TRUE(NoChildIsLeft());
  std::set<int32_t> missing(options.ranks.begin(), options.ranks.end());
  for (int64_t steps = 0; steps < options.steps || !missing.empty();) {
    SoakOptions soak{.serving = {}, .steps = options.steps_of_each, .seed = uint32_t(random())};
    ServingOptions& serving = soak.serving;
    serving.ranks = options.ranks[random() % options.ranks.size()];
    const char* models[] = {"ultramem_v2", "ultramem_v1_skip", "memory_plus", "ultramem_v2_expand"};
    serving.model_directory = absl::StrCat("tests/golden/", models[random() % 4]);
    constexpr Pins::Tables kTables[] = {Pins::Tables::kFree, Pins::Tables::kRows,
                                        Pins::Tables::kColumns};
    const uint32_t weights = random() % 2;
    const uint32_t tables = random() % 3;
    if (serving.ranks > 1) {
      serving.pins.weights = weights == 0 ? Pins::Weights::kSplit : Pins::Weights::kFree;
      serving.pins.tables = kTables[tables];
    }
    serving.max_step_tokens = 48;
    serving.max_sequences = 8;
    // A full context at least, and few enough that requests are preempted.
    serving.max_model_len = 128;
    const absl::StatusOr<PlannedModel> planned = PlanModel(serving);
    ASSERT_TRUE(planned.ok()) << planned.status();
    serving.kv_cache_bytes = 12 * KvBlockBytes(planned->plan);
    if (options.edit) options.edit(&serving);
    missing.erase(serving.ranks);
    std::cout << serving.model_directory << " on " << serving.ranks << ":" << std::endl;
    steps += Soak(soak);
    if (::testing::Test::HasFailure()) return;
  }
  ExpectResources(getpid(), before);
  EXPECT_TRUE(NoChildIsLeft());
}

}  // namespace mneme::testing
