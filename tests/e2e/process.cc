#include "tests/e2e/process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "gtest/gtest.h"

extern char** environ;

namespace mneme::testing {

Process::Process(std::vector<std::string> arguments, bool full_out) {
  arguments.insert(arguments.begin(), "clients/cli/mneme");
  int out[2], err[2];
  EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
  EXPECT_EQ(pipe2(err, O_CLOEXEC), 0);
  if (full_out) {
    fcntl(out[1], F_SETFL, O_NONBLOCK);
    while (write(out[1], ".", 1) == 1) {
    }
    fcntl(out[1], F_SETFL, 0);
  }
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

std::vector<pid_t> Process::Children() const {
  std::vector<pid_t> children;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    // "pid (name) state ppid": a name may hold spaces and brackets.
    std::string stat;
    std::getline(std::ifstream(entry.path() / "stat"), stat);
    const size_t end = stat.rfind(')');
    if (end == std::string::npos || end + 4 >= stat.size() || stat[end + 2] == 'Z') continue;
    if (std::stol(stat.substr(end + 4)) == pid_) children.push_back(std::stoi(name));
  }
  return children;
}

std::unique_ptr<client::Client> ConnectTo(Process* process) {
  const std::string line = process->ReadLine();
  EXPECT_NE(line.find("listening on 127.0.0.1:"), std::string::npos) << line;
  auto client = client::Client::Connect({.address = line.substr(line.rfind(' ') + 1)});
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

}  // namespace mneme::testing
