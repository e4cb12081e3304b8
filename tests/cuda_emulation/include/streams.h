// Streams and graphs. What a stream captures does not run before its graph is launched, and what
// CUDA refuses during capture is refused, and spoils the capture.
//
// Everything here is one for the driver and the runtime, which are two libraries of one source:
// the first that is loaded defines abc_shared.
#pragma once
#include <functional>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

constexpr int INVALID = 1, ILLEGAL_STATE = 401, CAPTURE_UNSUPPORTED = 900,
              CAPTURE_INVALIDATED = 901, CAPTURE_IMPLICIT = 906, CAPTURE_WRONG_THREAD = 908,
              NOT_SUPPORTED = 801;

using Work = std::function<int()>;
using Graph = std::vector<Work>;

struct Stream {
  enum Mode { NONE = -1, GLOBAL, THREAD_LOCAL, RELAXED };  // cudaStreamCaptureMode
  bool blocking;  // waits for the legacy stream, and is waited for
  Mode mode = NONE;
  bool valid = true;
  std::thread::id thread;
  Graph captured;
  int spoil(int code) {
    valid = false;
    return code;
  }
};

struct Shared {
  std::recursive_mutex lock;  // one call at a time, of all threads
  std::set<Stream*> streams;
  std::set<Graph*> graphs, executables;
  long launches = 0, replays = 0;  // that succeeded

  // For a call that may wait for the whole device, such as cudaMalloc.
  int unsafe() {
    int status = 0;
    for (Stream* s : streams)
      if (s->mode == Stream::GLOBAL ||
          (s->mode == Stream::THREAD_LOCAL && s->thread == std::this_thread::get_id()))
        status = s->spoil(CAPTURE_UNSUPPORTED);
    return status;
  }
  // The legacy stream, 0, waits for all blocking streams.
  int implicit() {
    int status = 0;
    for (Stream* s : streams)
      if (s->mode != Stream::NONE && s->blocking) status = s->spoil(CAPTURE_IMPLICIT);
    return status;
  }
  int wait(Stream* s) {
    if (!s) return implicit();
    if (!streams.count(s)) return INVALID;
    return s->mode == Stream::NONE ? 0 : s->spoil(CAPTURE_UNSUPPORTED);
  }
  // Does the work, or keeps it for the graph that is captured. `work` owns all that it needs.
  int put(Stream* s, Work work) {
    if (!s) {
      int status = implicit();
      return status ? status : work();
    }
    if (!streams.count(s)) return INVALID;
    if (s->mode == Stream::NONE) return work();
    if (!s->valid) return CAPTURE_INVALIDATED;
    s->captured.push_back(std::move(work));
    return 0;
  }
  int begin(Stream* s, int mode) {
    if (!s) return CAPTURE_UNSUPPORTED;
    if (!streams.count(s) || mode < Stream::GLOBAL || mode > Stream::RELAXED) return INVALID;
    if (s->mode != Stream::NONE) return ILLEGAL_STATE;
    s->mode = static_cast<Stream::Mode>(mode);
    s->valid = true;
    s->thread = std::this_thread::get_id();
    s->captured.clear();
    return 0;
  }
  int end(Stream* s, Graph** graph) {
    *graph = nullptr;
    if (!s || !streams.count(s) || s->mode == Stream::NONE) return ILLEGAL_STATE;
    if (s->mode != Stream::RELAXED && s->thread != std::this_thread::get_id())
      return s->spoil(CAPTURE_WRONG_THREAD);
    s->mode = Stream::NONE;
    if (!s->valid) return CAPTURE_INVALIDATED;
    *graph = new Graph(std::move(s->captured));
    graphs.insert(*graph);
    return 0;
  }
  int instantiate(Graph** executable, Graph* graph) {
    if (!graphs.count(graph)) return INVALID;
    *executable = new Graph(*graph);
    executables.insert(*executable);
    return 0;
  }
  int replay(Graph* executable, Stream* s) {
    if (!executables.count(executable)) return INVALID;
    if (s && s->mode != Stream::NONE) return NOT_SUPPORTED;  // a graph in a graph: not emulated
    return put(s, [this, executable] {
      for (const Work& work : *executable)
        if (int status = work()) return status;
      ++replays;
      return 0;
    });
  }
  int destroy(std::set<Graph*>& known, Graph* graph) {
    if (!known.erase(graph)) return INVALID;
    delete graph;
    return 0;
  }
};

extern "C" Shared& abc_shared();
