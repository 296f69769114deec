#include "loader/checkpoint/file_identity.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "gtest/gtest.h"

namespace mneme::loader {
namespace {

std::vector<FileIdentity> Identify(const std::string& directory) {
  const auto checkpoint = InspectCheckpoint(directory);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  return IdentifyFiles(*checkpoint).value();
}

// A copy that may be changed.
std::string Copy(const std::string& name) {
  const std::string to = std::string(std::getenv("TEST_TMPDIR")) + "/" + name;
  std::filesystem::remove_all(to);
  std::filesystem::create_directory(to);
  for (const char* file : {"config.yaml", "model.safetensors"}) {
    std::filesystem::copy_file("tests/golden/" + name + "/" + file, to + "/" + file);
    std::filesystem::permissions(to + "/" + file, std::filesystem::perms::owner_all);
  }
  return to;
}

TEST(FileIdentityTest, ACopyIsTheSame) {
  const std::vector<FileIdentity> files = Identify("tests/golden/ultramem_v2");
  ASSERT_EQ(files.size(), 2u);
  EXPECT_EQ(files[0].name, "config.yaml");
  EXPECT_EQ(files[1].name, "model.safetensors");
  EXPECT_EQ(files[1].bytes, static_cast<int64_t>(std::filesystem::file_size(
                                "tests/golden/ultramem_v2/model.safetensors")));
  EXPECT_EQ(files[1].hash.size(), 16u);
  EXPECT_EQ(FileDifference(files, Identify(Copy("ultramem_v2"))), "");
}

TEST(FileIdentityTest, AnotherConfigIsNamed) {
  const std::string copy = Copy("ultramem_v2");
  std::ofstream(copy + "/config.yaml", std::ios::app) << "\n";
  const std::vector<FileIdentity> here = Identify("tests/golden/ultramem_v2");
  const std::vector<FileIdentity> there = Identify(copy);
  EXPECT_EQ(FileDifference(here, there), "config.yaml: " + std::to_string(here[0].bytes) +
                                             " bytes here, " + std::to_string(here[0].bytes + 1) +
                                             " bytes there");
}

TEST(FileIdentityTest, AFileOfTheSameSizeWithOtherTensorsIsNamed) {
  const std::vector<FileIdentity> here = {{"a", 5, "0"}, {"b", 6, "1"}};
  EXPECT_EQ(FileDifference(here, {{"a", 5, "0"}, {"b", 6, "2"}}),
            "b: its header has hash 1 here, 2 there");
  EXPECT_EQ(FileDifference({{"config.yaml", 5, "0"}}, {{"config.yaml", 5, "3"}}),
            "config.yaml: its text has hash 0 here, 3 there");
}

// Tensors of one shape in each other's place: all else is equal.
TEST(FileIdentityTest, TensorsInOtherPlacesAreAnotherFile) {
  const std::string copy = Copy("ultramem_v2");
  std::fstream file(copy + "/model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
  std::string head(1 << 14, 0);
  file.read(head.data(), static_cast<std::streamsize>(head.size()));
  file.clear();
  for (const char norm : {'q', 'k'}) {
    const std::string name = std::string("blocks.0.") + norm + "_norm.weight";
    const size_t at = head.find(name);
    ASSERT_NE(at, std::string::npos);
    file.seekp(static_cast<std::streamoff>(at) + 9);
    file.put(norm == 'q' ? 'k' : 'q');
  }
  file.close();
  const std::vector<FileIdentity> here = Identify("tests/golden/ultramem_v2");
  const std::vector<FileIdentity> there = Identify(copy);
  EXPECT_EQ(FileDifference(here, there), "model.safetensors: its header has hash " + here[1].hash +
                                             " here, " + there[1].hash + " there");
}

TEST(FileIdentityTest, AFileThatOnlyOneHasIsNamed) {
  EXPECT_EQ(FileDifference({{"a", 5, "0"}}, {}), "a: is here, not there");
  EXPECT_EQ(FileDifference({}, {{"a", 5, "0"}}), "a: is there, not here");
}

}  // namespace
}  // namespace mneme::loader
