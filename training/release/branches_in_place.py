"""Branches and loops of a saved graph, left as the functions they are and, where they can be, run in one go.

When TensorFlow loads a graph it turns a conditional function into switches and merges: each tensor that a branch reads
is an operation of its own then, and the branch that is not taken is gone through as well. An answer of 1,194 operations
had 95 such switches. Without the mark that asks for it, an `If` calls one of its two functions.

A function in which no other is called is a straight line of operations. TensorFlow's single-threaded executor runs
through such a line without asking after every operation what has become ready (`single_threaded_executor.cc`, which
belongs to the runtime of functions and so to every server that can run a release at all). It is asked for by no other
function: what waits there for a function of its own holds the thread which is to run that, and a server with one thread
for a request stood still.
"""

from tensorflow.core.framework import graph_pb2

LOWERING = "_lower_using_switch_merge"
EXECUTOR, IN_ONE_GO = "_executor", b"SINGLE_THREADED_EXECUTOR"
CALLED_BY = ("then_branch", "else_branch", "cond", "body")


def leave_branches_in_place(graph: graph_pb2.GraphDef) -> None:
    """Changes how the branches and loops of a graph's functions are run, not what they compute."""
    straight = {
        function.signature.name
        for function in graph.library.function
        if not any(
            value.HasField("func") or value.list.func for node in function.node_def for value in node.attr.values()
        )
    }
    for function in graph.library.function:
        for node in function.node_def:
            node.attr.pop(LOWERING, None)
            for role in CALLED_BY:
                if role in node.attr and node.attr[role].func.name in straight:
                    node.attr[role].func.attr[EXECUTOR].s = IN_ONE_GO
