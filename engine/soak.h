// Long runs of an engine for tests: requests that come and go in every way, and what the process
// and its ranks' processes still hold afterwards.
#ifndef MNEME_ENGINE_SOAK_H_
#define MNEME_ENGINE_SOAK_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/serving.h"

namespace mneme::testing {

// What a process holds.
struct Resources {
  std::vector<std::string> descriptors;  // what each is open on, without numbers; sorted
  int64_t threads = 0;
};
Resources ResourcesOf(pid_t pid);
std::string ToString(const Resources& resources);

// Waits until a process holds what it held, or has fewer threads (those that touch the KV cache's
// pages end by themselves); fails the test with the difference after ten seconds.
void ExpectResources(pid_t pid, const Resources& before);
// No child of this process is left, alive or not waited for.
bool NoChildIsLeft();

struct SoakOptions {
  ServingOptions serving;
  int64_t steps = 0;
  uint32_t seed = 0;
};

// Serves until that many steps have run, at least: eight clients whose requests (serving_load.h)
// are read to their end, cancelled after some tokens or at once, or dropped. Fails the test when a
// request fails, or when afterwards KV blocks, credits (Executor::credits_out), descriptors or
// threads are missing or too many, of this process or of a rank's. Returns the steps that ran.
int64_t Soak(const SoakOptions& options);

// Serves `steps` steps, at least, in episodes: each a model of tests/golden with a random layout,
// on one of `ranks` ranks; all of them come. A test failure says what was left, of an episode or of
// all. `edit` makes ranks processes.
struct EpisodeOptions {
  std::vector<int32_t> ranks;
  int64_t steps = 0;
  int64_t steps_of_each = 0;
  uint32_t seed = 0;  // printed
  std::function<void(ServingOptions*)> edit = nullptr;
};
void SoakInEpisodes(const EpisodeOptions& options);

}  // namespace mneme::testing

#endif  // MNEME_ENGINE_SOAK_H_
