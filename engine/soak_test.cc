// Many steps on ranks that are threads, with requests that come, go and are cancelled, leave
// nothing behind.

#include "engine/soak.h"

#include <iostream>

#include "gtest/gtest.h"

namespace mneme::testing {
namespace {

TEST(SoakTest, NothingIsLeftOfManySteps) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr int64_t kSteps = 1000;
  std::cout << "fewer steps under a sanitizer" << std::endl;
#else
  constexpr int64_t kSteps = 6000;  // and 4,000 of processes: tests/model/soak_processes_test.cc
#endif
  SoakInEpisodes({.ranks = {1, 2, 3}, .steps = kSteps, .steps_of_each = 250, .seed = 20});
}

}  // namespace
}  // namespace mneme::testing
