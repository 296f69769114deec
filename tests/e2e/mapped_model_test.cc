// A converted model behind the real binary: the texts of its source, and one line that names the
// file when that is cut short.

#include <signal.h>

#include <filesystem>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "loader/native/convert.h"
#include "tests/e2e/process.h"

namespace mneme::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr char kSource[] = "models/demo/ultramem";
constexpr char kMessage[] = "cannot be read while the file is mapped";

// The demo model, converted.
std::string Converted(const std::string& name) {
  const std::string out = ::testing::TempDir() + "/" + name;
  fs::remove_all(out);
  const loader::Checkpoint source = loader::InspectCheckpoint(kSource).value();
  const auto report = loader::ConvertCheckpoint(source, out, {}, {});
  EXPECT_TRUE(report.ok()) << report.status();
  return out;
}

std::vector<std::string> Serve(const std::string& model, const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"serve", "--model", model, "--listen", "127.0.0.1:0"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

// What a server of the folder generates.
std::string TextOf(const std::string& model, const std::vector<std::string>& more) {
  Process server(Serve(model, more));
  const auto client = ConnectTo(&server);
  if (client == nullptr) return "";
  return Text(client.get(), 48).value();
}

TEST(MappedModelTest, GivesTheTextOfItsSource) {
  const std::string native = Converted("same");
  const std::vector<std::string> two = {"--ranks", "2"};
  const std::string text = TextOf(kSource, two);
  EXPECT_GE(text.size(), 48u);
  EXPECT_EQ(TextOf(native, two), text);
  EXPECT_EQ(TextOf(native, {"--ranks", "2", "--huge-pages"}), text);
  EXPECT_EQ(TextOf(native, {"--processes", "2"}), TextOf(kSource, {"--processes", "2"}));
}

TEST(MappedModelTest, AFileThatIsCutShortEndsTheServerWithOneLine) {
  const std::string native = Converted("cut");
  Process server(Serve(native, {"--ranks", "2"}));
  const auto client = ConnectTo(&server);
  ASSERT_NE(client, nullptr);
  ASSERT_TRUE(Text(client.get(), 4).ok());
  const std::string shard = native + "/model-00001-of-00001.safetensors";
  fs::resize_file(shard, 4096);
  EXPECT_FALSE(Text(client.get(), 4).ok());
  EXPECT_EQ(server.Wait(), 1000 + SIGBUS);
  const size_t first = server.err().find("mneme: " + shard + ": byte ");
  ASSERT_NE(first, std::string::npos) << server.err();
  const size_t message = server.err().find(kMessage, first);
  ASSERT_NE(message, std::string::npos) << server.err();
  EXPECT_EQ(server.err().find(kMessage, message + 1), std::string::npos) << server.err();
}

}  // namespace
}  // namespace mneme::testing
