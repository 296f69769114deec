// Fits libFuzzer into a Bazel test: the corpus, which is read-only there, becomes seed inputs, new
// inputs go to the test's scratch folder, and an input that crashes is left in the test's outputs
// (and printed in base64).
#include <cstdlib>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  static std::vector<std::string> storage;
  static std::vector<char*> arguments;
  std::string seeds;
  storage.emplace_back((*argv)[0]);
  // Bazel sets both variables for every test. The first folder is the one libFuzzer writes to.
  if (const char* scratch = std::getenv("TEST_TMPDIR")) storage.emplace_back(scratch);
  if (const char* outputs = std::getenv("TEST_UNDECLARED_OUTPUTS_DIR")) {
    storage.emplace_back(std::string("-artifact_prefix=") + outputs + "/");
  }
  for (int i = 1; i < *argc; ++i) {
    const std::string argument = (*argv)[i];
    if (argument.starts_with("-")) {
      storage.push_back(argument);
    } else {
      seeds += (seeds.empty() ? "-seed_inputs=" : ",") + argument;
    }
  }
  if (!seeds.empty()) storage.push_back(seeds);
  for (std::string& argument : storage) arguments.push_back(argument.data());
  arguments.push_back(nullptr);
  *argc = static_cast<int>(storage.size());
  *argv = arguments.data();
  return 0;
}
