"""The judges of a drained queue and of how a node came back, on planted faults."""

import pathlib
import tempfile
import types
import unittest

import posting
import returns

SIZE = 100


def post(uid, number, t_inv, t_ok, known=True):
    return posting.Post("q", uid, number, "id", SIZE, t_inv, t_ok, known)


class Delivery(unittest.TestCase):
    def setUp(self):
        self.bodies = posting.Bodies(1)
        # c1 posts one after the other, c2 beside both of them; nobody knows of c2-1.
        posts = [post("c1-0", 0, 0, 1), post("c1-1", 1, 1, 2), post("c2-0", 0, 0.5, 3),
                 post("c2-1", 1, 5, 6, known=False)]
        self.posts = {post.uid: post for post in posts}

    def faults(self, *uids):
        bodies = [self.bodies.make(uid, SIZE) for uid in uids]
        return posting.delivery_faults(self.posts, bodies, self.bodies)

    def test_every_order_that_may_be_is_right(self):
        for uids in (["c1-0", "c1-1", "c2-0"], ["c2-0", "c1-0", "c1-1"],
                     ["c1-0", "c2-0", "c1-1", "c2-1"]):
            self.assertEqual(self.faults(*uids), [], uids)

    def test_loss_doubles_and_wrong_order_are_found(self):
        for uids in (["c1-0", "c2-0"], ["c1-0", "c1-0", "c1-1", "c2-0"],
                     ["c1-1", "c1-0", "c2-0"], ["c2-1", "c1-0", "c1-1", "c2-0"],
                     ["c1-0", "c1-1", "c2-0", "c9-0"]):
            self.assertEqual(len(self.faults(*uids)) > 0, True, uids)

    def test_another_body_is_found(self):
        bodies = [self.bodies.make(uid, SIZE) for uid in ("c1-0", "c1-1", "c2-0")]
        bodies[1] = bodies[1][:-1] + "!"
        self.assertEqual(posting.delivery_faults(self.posts, bodies, self.bodies),
                         ["c1-1 has another body"])


class OneSnapshot(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.node_dir = pathlib.Path(folder.name)
        self.state = self.node_dir / "data" / "state"
        self.found = []
        self.shared = types.SimpleNamespace(
            node_dir=lambda node: self.node_dir,
            check=lambda name, right, said: self.found.append((right, said)))

    def write(self, path, text):
        path = self.state / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def installed(self, *numbers, before=None):
        """What is judged when a node that had state `before` came to have `numbers` in turn."""
        if before:
            self.write("CURRENT", f"state {before}\ncheckpoint 0\n")
        follow = returns.CatchUp(self.shared, 1)
        for number in numbers:
            self.write("CURRENT", f"state {number}\ncheckpoint 0\n")
            follow.look_at_files()
        self.found.clear()
        returns.check_one_snapshot(self.shared, "b", follow)
        return self.found[0][0]

    def test_one_install_is_right_in_an_old_node_and_in_a_new_one(self):
        self.assertEqual(self.installed(3, 4, 4, before=3), True)
        (self.state / "CURRENT").unlink()
        self.assertEqual(self.installed(1, 2), True)

    def test_none_and_a_second_one_are_found(self):
        for numbers in ([3], [4, 5]):
            self.assertEqual(self.installed(*numbers, before=3), False, numbers)

    def test_a_snapshot_under_way_is_seen_with_its_size(self):
        follow = returns.CatchUp(self.shared, 1)
        self.write("staging/4-1/manifest", "file 100 aa a.sst\nfile 20 bb b.sst\n")
        follow.look_at_files()
        self.assertEqual((follow.offered, follow.installs()), ({"4-1": 120}, 0))


if __name__ == "__main__":
    unittest.main()
