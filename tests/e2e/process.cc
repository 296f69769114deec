#include "tests/e2e/process.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/client_unary_call.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <utility>

#include "gtest/gtest.h"

extern char** environ;

namespace mneme::testing {

namespace {

void FillPipe(int end) {
  fcntl(end, F_SETFL, O_NONBLOCK);
  while (write(end, ".", 1) == 1) {
  }
  fcntl(end, F_SETFL, 0);
}

}  // namespace

Process::Process(std::vector<std::string> arguments, bool full_out, Err err_kind) {
  arguments.insert(arguments.begin(), "clients/cli/mneme");
  int out[2], err[2];
  EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
  EXPECT_EQ(pipe2(err, O_CLOEXEC), 0);
  if (full_out) FillPipe(out[1]);
  if (err_kind == Err::kFull) FillPipe(err[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out[1], 1);
  posix_spawn_file_actions_adddup2(&actions, err[1], 2);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  EXPECT_EQ(posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  close(out[1]);
  close(err[1]);
  out_ = out[0];
  if (err_kind != Err::kRead) {
    unread_err_ = err[0];
    if (err_kind == Err::kGone) close(std::exchange(unread_err_, -1));
    return;
  }
  err_reader_ = std::thread([this, fd = err[0]] {
    char buffer[4096];
    for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) {
      const std::lock_guard lock(err_mutex_);
      err_.append(buffer, static_cast<size_t>(n));
    }
    close(fd);
  });
}

Process::~Process() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    Wait();
  }
  close(out_);
  if (unread_err_ >= 0) close(unread_err_);
}

std::string Process::ReadLine() {
  std::string line;
  char c;
  while (read(out_, &c, 1) == 1 && c != '\n') line += c;
  return line;
}

std::string Process::ReadRest() {
  std::string rest;
  char buffer[4096];
  for (ssize_t n; (n = read(out_, buffer, sizeof buffer)) > 0;) {
    rest.append(buffer, static_cast<size_t>(n));
  }
  return rest;
}

bool Process::WaitForErr(const std::string& text) {
  for (int i = 0; i < 6000; ++i) {
    {
      const std::lock_guard lock(err_mutex_);
      if (err_.find(text) != std::string::npos) return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

void Process::Signal(int signal) { kill(pid_, signal); }

int Process::Wait() {
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  if (err_reader_.joinable()) err_reader_.join();
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

std::vector<pid_t> ChildrenOf(pid_t parent) {
  std::vector<pid_t> children;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    // "pid (name) state ppid": a name may hold spaces and brackets.
    std::string stat;
    std::getline(std::ifstream(entry.path() / "stat"), stat);
    const size_t end = stat.rfind(')');
    if (end == std::string::npos || end + 4 >= stat.size() || stat[end + 2] == 'Z') continue;
    if (std::stol(stat.substr(end + 4)) == parent) children.push_back(std::stoi(name));
  }
  return children;
}

std::unique_ptr<client::Client> ConnectTo(Process* process, std::string* address) {
  const std::string line = process->ReadLine();
  EXPECT_NE(line.find("listening on 127.0.0.1:"), std::string::npos) << line;
  const std::string found = line.substr(line.rfind(' ') + 1);
  if (address != nullptr) *address = found;
  auto client = client::Client::Connect({.address = found});
  EXPECT_TRUE(client.ok()) << client.status();
  return client.ok() ? *std::move(client) : nullptr;
}

v1::GenerateRequest GreedyText(int32_t tokens) {
  v1::GenerateRequest request;
  request.set_text("hacker: n.");
  request.mutable_sampling()->set_temperature(0);
  request.mutable_stopping()->set_ignore_eos(true);
  request.mutable_stopping()->set_max_tokens(tokens);
  return request;
}

absl::StatusOr<std::string> Text(client::Client* client, int32_t tokens) {
  auto result =
      client->Generate(GreedyText(tokens), {}, [](const v1::ChoiceDelta&) { return true; });
  if (!result.ok()) return result.status();
  return result->choices[0].text;
}

// The text, as soon as the server takes requests again.
std::string TextOnceBack(client::Client* client, int32_t tokens) {
  for (auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
       std::chrono::steady_clock::now() < end;) {
    const absl::StatusOr<std::string> text = Text(client, tokens);
    if (text.ok()) return *text;
    EXPECT_TRUE(absl::IsUnavailable(text.status())) << text.status();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return "not back within a minute";
}

std::string HealthOf(const std::string& address) {
  // Its messages have one field each: service = 1 (empty: the whole server) and status = 1 (1
  // serving, 2 not serving).
  const auto channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  const grpc::internal::RpcMethod check("/grpc.health.v1.Health/Check",
                                        grpc::internal::RpcMethod::NORMAL_RPC, channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
  const grpc::ByteBuffer nothing(nullptr, 0);
  grpc::ByteBuffer answer;
  const grpc::Status status = grpc::internal::BlockingUnaryCall<grpc::ByteBuffer, grpc::ByteBuffer>(
      channel.get(), check, &context, nothing, &answer);
  if (!status.ok()) return status.error_message();
  grpc::Slice bytes;
  if (!answer.DumpToSingleSlice(&bytes).ok() || bytes.size() != 2) return "no health";
  return bytes.begin()[1] == 1 ? "SERVING" : "NOT_SERVING";
}

std::string TokenFile(const std::string& name, const std::string& token) {
  const std::string path = std::string(std::getenv("TEST_TMPDIR")) + "/" + name;
  std::ofstream(path) << token << "\n";
  return path;
}

}  // namespace mneme::testing
