// A rank on another host whose copy of the model is not the front's: refused by the file's name and
// both values; once it is put right, it serves.

#include <signal.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/e2e/process.h"

namespace mneme::testing {
namespace {

using ::testing::HasSubstr;
using Path = std::filesystem::path;

constexpr char kModel[] = "models/demo/ultramem";

// A copy that may be changed.
Path Copy() {
  const Path copy = Path(std::getenv("TEST_TMPDIR")) / "copy";
  std::filesystem::remove_all(copy);
  std::filesystem::create_directory(copy);
  for (const auto& file : std::filesystem::directory_iterator(kModel)) {
    const Path to = copy / file.path().filename();
    std::filesystem::copy_file(file.path(), to);
    std::filesystem::permissions(to, std::filesystem::perms::owner_all);
  }
  return copy;
}

Path Weights(const Path& folder) { return folder / "model.safetensors"; }
uintmax_t WeightBytes() { return std::filesystem::file_size(Weights(kModel)); }

std::unique_ptr<Process> StartRank(const std::string& address, const Path& model,
                                   std::string* bound) {
  auto rank = std::make_unique<Process>(
      std::vector<std::string>{"rank", "--listen", address, "--model", model.string(),
                               "--token-file", TokenFile("token", "a token of some length")});
  const std::string line = rank->ReadLine();
  EXPECT_THAT(line, HasSubstr("rank waits on 127.0.0.1:"));
  *bound = line.substr(line.rfind(' ') + 1);
  return rank;
}

std::unique_ptr<Process> Serve(const std::string& rank) {
  return std::make_unique<Process>(std::vector<std::string>{
      "serve", "--listen=127.0.0.1:0", "--rank-timeout=2", "--rank-hosts", rank,
      "--rank-token-file", TokenFile("token", "a token of some length")});
}

struct Spoilt {
  std::string name;
  std::function<void(const Path& copy)> spoil;
  std::vector<std::string> says;
};

void Truncate(const Path& copy) {
  std::filesystem::resize_file(Weights(copy), WeightBytes() - 1000);
}

void Lengthen(const Path& copy) {
  std::ofstream(Weights(copy), std::ios::app | std::ios::binary) << std::string(1000, 0);
}

// Two tensors of one shape and size for each other: nothing else in the header, or outside,
// changes.
void ExchangeTwoTensors(const Path& copy) {
  std::fstream file(Weights(copy), std::ios::in | std::ios::out | std::ios::binary);
  std::string head(1 << 16, 0);
  file.read(head.data(), static_cast<std::streamsize>(head.size()));
  for (const auto& [one, other] : {std::pair('q', 'k'), std::pair('k', 'q')}) {
    const size_t at = head.find(std::string("transformer.blocks.0.") + one + "_norm.weight");
    ASSERT_NE(at, std::string::npos);
    file.seekp(static_cast<std::streamoff>(at) + 21);
    file.put(other);
  }
}

void AddALineToTheConfig(const Path& copy) {
  std::ofstream(copy / "config.yaml", std::ios::app) << "\n";
}

class RankCopyTest : public ::testing::TestWithParam<Spoilt> {};

TEST_P(RankCopyTest, IsRefusedByNameAndServesOncePutRight) {
  const Path copy = Copy();
  std::string address;
  auto rank = StartRank("127.0.0.1:0", copy, &address);
  // A front that begins with it says so and ends; the rank waits for the next.
  ASSERT_NO_FATAL_FAILURE(GetParam().spoil(copy));
  {
    const auto front = Serve(address);
    ASSERT_TRUE(front->WaitForErr(GetParam().says.front()));
    EXPECT_EQ(front->Wait(), 1);
    for (const std::string& words : GetParam().says) EXPECT_THAT(front->err(), HasSubstr(words));
    EXPECT_THAT(front->err(), HasSubstr("rank 1 (" + address + "): "));
  }
  Copy();
  const auto front = Serve(address);
  std::string server;
  const auto client = ConnectTo(front.get(), &server);
  ASSERT_NE(client, nullptr);
  const std::string expected = Text(client.get(), 20).value();
  // A front that runs goes on without serving until the rank is right again.
  rank->Signal(SIGKILL);
  rank->Wait();
  GetParam().spoil(copy);
  rank = StartRank(address, copy, &address);
  ASSERT_TRUE(front->WaitForErr("ranks are not back: rank 1 (" + address + "): "));
  ASSERT_TRUE(front->WaitForErr(GetParam().says.front()));
  EXPECT_EQ(HealthOf(server), "NOT_SERVING");
  EXPECT_TRUE(absl::IsUnavailable(Text(client.get(), 1).status()));
  Copy();
  EXPECT_EQ(TextOnceBack(client.get(), 20), expected);
  EXPECT_EQ(HealthOf(server), "SERVING");
  front->Signal(SIGTERM);
  EXPECT_EQ(front->Wait(), 0);
  for (const std::string& words : GetParam().says) EXPECT_THAT(front->err(), HasSubstr(words));
}

INSTANTIATE_TEST_SUITE_P(
    Copies, RankCopyTest,
    ::testing::Values(Spoilt{"Truncated",
                             Truncate,
                             {"/copy/model.safetensors: tensor \"transformer.full_memory_layer.",
                              "data_offsets [", "are beyond the data, which has 23782824 bytes"}},
                      Spoilt{
                          "Longer",
                          Lengthen,
                          {"/copy/model.safetensors: the tensors end at byte 23783824 of the data",
                           "which has 23784824 bytes"}},
                      Spoilt{"OfAnotherHeader",
                             ExchangeTwoTensors,
                             {"model.safetensors: its header has hash ", " here, ", " there"}},
                      Spoilt{"OfAnotherConfig",
                             AddALineToTheConfig,
                             {"config.yaml: 850 bytes here, 849 bytes there"}}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace mneme::testing
