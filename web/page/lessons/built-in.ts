import caches from '../../course/caches.md';
import cat from '../../course/cat.md';
import chain from '../../course/chain.md';
import course from '../../course/course.md';
import driver from '../../course/driver.md';
import features from '../../course/features.md';
import glossary from '../../course/glossary.md';
import guestDriver from '../../course/guest-driver.md';
import indirect from '../../course/indirect.md';
import init from '../../course/init.md';
import locks from '../../course/locks.md';
import migration from '../../course/migration.md';
import nodes from '../../course/nodes.md';
import notify from '../../course/notify.md';
import packed from '../../course/packed.md';
import pci from '../../course/pci.md';
import queue from '../../course/queue.md';
import start from '../../course/start.md';
import step from '../../course/step.md';
import suspend from '../../course/suspend.md';
import unlinked from '../../course/unlinked.md';

/** Files of `web/course/`, by their names. */
export const BUILT_IN: Readonly<Record<string, string>> = {
  'caches.md': caches,
  'cat.md': cat,
  'chain.md': chain,
  'course.md': course,
  'driver.md': driver,
  'features.md': features,
  'glossary.md': glossary,
  'guest-driver.md': guestDriver,
  'indirect.md': indirect,
  'init.md': init,
  'locks.md': locks,
  'migration.md': migration,
  'nodes.md': nodes,
  'notify.md': notify,
  'packed.md': packed,
  'pci.md': pci,
  'queue.md': queue,
  'start.md': start,
  'step.md': step,
  'suspend.md': suspend,
  'unlinked.md': unlinked,
};
